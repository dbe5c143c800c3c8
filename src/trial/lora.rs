//! LoRA: frozen weights with trained changes of low rank (Hu et al., 2022), as in the library peft.

use serde::{Deserialize, Serialize};

/// The settings of LoRA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rank of the changes.
    pub r: usize,
    pub alpha: f64,
    /// Ends of the names of the linear layers that are changed; `all-linear`: all of them.
    pub targets: Vec<String>,
    /// Whether a change is divided by the square root of `r` in place of `r` (Kalajdzievski, 2023).
    #[serde(default)]
    pub rslora: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { r: 8, alpha: 16.0, targets: vec!["query".into(), "value".into()], rslora: false }
    }
}

/// A linear layer of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearModule {
    /// Without the prefix of the architecture.
    pub name: String,
    pub outputs: usize,
    pub inputs: usize,
}

impl LoraConfig {
    /// The target that stands for all linear layers.
    pub const ALL: &str = "all-linear";

    /// The factor of a change.
    #[must_use]
    pub fn scale(&self) -> f64 {
        let r = self.r as f64;
        self.alpha / if self.rslora { r.sqrt() } else { r }
    }

    /// Whether the linear layer with this name is changed.
    #[must_use]
    pub fn changes(&self, module: &str) -> bool {
        self.targets.iter().any(|target| matches(target, module))
    }

    /// Number of parameters of the changes.
    #[must_use]
    pub fn parameters(&self, modules: &[LinearModule]) -> u64 {
        let changed = modules.iter().filter(|module| self.changes(&module.name));
        changed.map(|module| (self.r * (module.outputs + module.inputs)) as u64).sum()
    }

    /// What differs from the settings of an adapter that training is to continue from.
    #[must_use]
    pub fn mismatch(&self, adapter: &Self) -> Option<String> {
        let sorted = |lora: &Self| {
            let mut targets = lora.targets.clone();
            targets.sort_unstable();
            targets.join(", ")
        };
        let text_of = |lora: &Self| {
            let Self { r, alpha, rslora, .. } = lora;
            format!("r {r}, alpha {alpha}, rslora {rslora}, targets {}", sorted(lora))
        };
        (text_of(self) != text_of(adapter)).then(|| {
            format!(
                "model.lora has {}, but the adapter in the checkpoint's folder has {}",
                text_of(self),
                text_of(adapter)
            )
        })
    }

    /// What is wrong with a target that matches none of these layers.
    #[must_use]
    pub fn unmatched(&self, modules: &[LinearModule]) -> Option<String> {
        let is_missing = |target: &&String| !modules.iter().any(|module| matches(target, &module.name));
        let target = self.targets.iter().find(is_missing)?;
        if modules.is_empty() {
            return Some("model.lora changes the linear layers of an encoder, and this network has none".to_owned());
        }
        let mut ends: Vec<&str> =
            modules.iter().map(|module| module.name.rsplit('.').next().unwrap_or_default()).collect();
        ends.sort_unstable();
        ends.dedup();
        // Letters in common, so that `q` is near `query`.
        let distance = |end: &&str| edit_distance(target, end);
        ends.sort_by_key(distance);
        let names = ends.join(", ");
        Some(format!(
            "the target `{target}` of model.lora matches no linear layer of this model; its layers, the nearest name first: \
             {names}"
        ))
    }
}

/// Whether a target is the end of a name, as peft compares them.
fn matches(target: &str, module: &str) -> bool {
    target == LoraConfig::ALL || module == target || module.strip_suffix(target).is_some_and(|rest| rest.ends_with('.'))
}

/// The number of insertions, deletions and replacements that turn one name into the other (Levenshtein, 1966).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules() -> Vec<LinearModule> {
        let names = ["layer.0.attention.q_lin", "layer.0.attention.v_lin", "layer.0.ffn.lin1", "pooler"];
        names.map(|name| LinearModule { name: name.into(), outputs: 3, inputs: 4 }).into()
    }

    #[test]
    fn targets_are_ends_of_names() {
        let lora = |targets: &[&str]| LoraConfig {
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            ..LoraConfig::default()
        };
        let count = |targets: &[&str]| lora(targets).parameters(&modules()) / (8 * 7);
        assert_eq!(count(&["q_lin"]), 1);
        assert_eq!(count(&["attention.q_lin", "pooler"]), 2);
        assert_eq!(count(&["lin"]), 0, "only whole parts of a name match");
        assert_eq!(count(&["all-linear"]), 4);
        assert_eq!(lora(&["q_lin", "lin1"]).unmatched(&modules()), None);
        let message = |targets: &[&str]| lora(targets).unmatched(&modules()).unwrap();
        let start = "the target `query` of model.lora matches no linear layer of this model; its layers, the nearest name first: ";
        assert!(message(&["q_lin", "query"]).starts_with(&format!("{start}q_lin, ")), "{}", message(&["query"]));
        assert!(message(&["v_line"]).ends_with("first: v_lin, q_lin, lin1, pooler"), "{}", message(&["v_line"]));
        assert!(lora(&["query"]).unmatched(&[]).unwrap().ends_with("this network has none"));
    }

    #[test]
    fn the_scale_follows_peft() {
        let lora = LoraConfig { r: 4, ..LoraConfig::default() };
        assert!((lora.scale() - 4.0).abs() < 1e-12);
        assert!((LoraConfig { rslora: true, ..lora }.scale() - 8.0).abs() < 1e-12);
    }
}
