//! Values in a configuration, as JSON.

use serde_json::Value;

use super::keys;

/// The value at a dotted path. A parameter of `augmentation` is found if there is exactly one augmentation.
pub(crate) fn lookup<'v>(config: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(config, |value, name| match value {
        Value::Array(items) if items.len() == 1 => items[0].get(name),
        _ => value.get(name),
    })
}

/// What a value of a key sets, with its path: a map in the place of a group sets the keys inside it and leaves the others.
pub(crate) fn settings(path: &str, value: &Value) -> Vec<(String, Value)> {
    match (keys::group(path), value) {
        (Some(_), Value::Object(entries)) => {
            entries.iter().flat_map(|(name, value)| settings(&format!("{path}.{name}"), value)).collect()
        }
        (Some(group), value) => vec![(group.scalar.unwrap_or(path).to_owned(), value.clone())],
        (None, value) => vec![(path.to_owned(), value.clone())],
    }
}

/// Whether `value` holds all of `wanted`.
pub(super) fn says(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| value.get(key).is_some_and(|value| says(value, wanted)))
        }
        (Value::Array(value), Value::Array(wanted)) => {
            value.len() == wanted.len() && value.iter().zip(wanted).all(|(value, wanted)| says(value, wanted))
        }
        _ => value == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_map_sets_the_keys_inside_it() {
        let paths = |path: &str, value: Value| {
            let settings: Vec<String> =
                settings(path, &value).iter().map(|(path, value)| format!("{path}={value}")).collect();
            settings.join(" ")
        };
        assert_eq!(paths("lr", json!(0.1)), "lr=0.1");
        assert_eq!(paths("optimizer", json!("adamw")), r#"optimizer.name="adamw""#);
        assert_eq!(paths("model", json!({"lora": {"r": 2}, "from": "a"})), r#"model.from="a" model.lora.r=2"#);
        assert_eq!(paths("model.lora", json!("none")), r#"model.lora="none""#);
        // A schedule comes as a whole.
        assert_eq!(paths("scheduler", json!({"name": "cosine"})), r#"scheduler={"name":"cosine"}"#);
    }
}
