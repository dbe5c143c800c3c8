//! Patterns that stand for several files: `data/*.csv`, `part-{1,2}.jsonl`, `{a.csv,b.csv}`.
//!
//! A list of files in a sweep file is the pattern with all of them in braces.

use std::path::PathBuf;

use super::error::{DataError, DataErrorKind};

/// Whether a source stands for several files.
pub(super) fn is_pattern(source: &str) -> bool {
    source.contains(['*', '?', '[', '{'])
}

/// One source of several paths.
pub(super) fn join(paths: &[String]) -> Result<String, DataError> {
    match paths {
        [one] => Ok(one.clone()),
        several => match several.iter().find(|path| path.contains(['{', '}', ','])) {
            Some(path) => {
                let message =
                    format!("{path}: a path with braces or a comma cannot be one of several files; rename it");
                Err(DataError::new(DataErrorKind::Unsupported, message))
            }
            None => Ok(format!("{{{}}}", several.join(","))),
        },
    }
}

/// The alternatives of a pattern with braces, in their order; other text as it is.
pub(super) fn parts(source: &str) -> Vec<String> {
    let Some(open) = source.find('{') else { return vec![source.to_owned()] };
    let Some(length) = source[open..].find('}') else { return vec![source.to_owned()] };
    let (before, inside, after) = (&source[..open], &source[open + 1..open + length], &source[open + length + 1..]);
    inside.split(',').flat_map(|part| parts(&format!("{before}{}{after}", part.trim()))).collect()
}

/// The files that match a pattern, looked up in `roots` in turn, sorted for each alternative.
pub(super) fn matches(pattern: &str, roots: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut all = Vec::new();
    for part in parts(pattern) {
        let tried: Vec<PathBuf> = roots.iter().map(|root| root.join(&part)).collect();
        let mut found = Vec::new();
        for candidate in &tried {
            let malformed = |error: glob::PatternError| {
                DataError::malformed(format!("`{part}` is not a pattern of files: {error}")).caused_by(error)
            };
            found = glob::glob(&candidate.to_string_lossy()).map_err(malformed)?.flatten().collect();
            if !found.is_empty() {
                break;
            }
        }
        if found.is_empty() {
            let tried: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
            let message = format!("no file matches `{part}`; looked for {}", tried.join(" and "));
            return Err(DataError::new(DataErrorKind::NotFound, message));
        }
        all.extend(found);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_alternatives() {
        assert_eq!(parts("a.csv"), ["a.csv"]);
        assert_eq!(parts("d/{a, b}.csv"), ["d/a.csv", "d/b.csv"]);
        assert_eq!(parts(&join(&["/x".into(), "/y".into()]).unwrap()), ["/x", "/y"]);
        assert_eq!(join(&["/x,y".into()]).unwrap(), "/x,y");
        assert!(join(&["/x,y".into(), "/z".into()]).is_err());
    }
}
