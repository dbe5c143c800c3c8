//! Values in a configuration, as JSON.

use serde_json::Value;

/// The value at a dotted path. A parameter of `augmentation` is found if there is exactly one augmentation.
pub(crate) fn lookup<'v>(config: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(config, |value, name| match value {
        Value::Array(items) if items.len() == 1 => items[0].get(name),
        _ => value.get(name),
    })
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
