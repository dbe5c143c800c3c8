//! The embedded typeface Inter, regular and semi-bold, and the width of texts in it.
//!
//! resvg draws nothing for a character that is not in the font, so every text passes through [`printable`] first.

use std::sync::LazyLock;

use ttf_parser::Face;

/// The font files, for PNG and page. The metadata of the bold one says weight 700.
pub static REGULAR: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.subset.otf");
pub static BOLD: &[u8] = include_bytes!("../../../assets/fonts/Inter-SemiBold.subset.otf");
/// PNG and page embed Inter. A viewer of the SVG without Inter uses the next family.
pub const FAMILY: &str = "Inter, Helvetica, Arial, sans-serif";

/// Replaces a character that is not in the font.
const MISSING: char = '?';
/// Width of a character, as a share of the font size, if the font cannot be read.
const FALLBACK_WIDTH: f64 = 0.6;

static REGULAR_FACE: LazyLock<Option<Face<'static>>> = LazyLock::new(|| Face::parse(REGULAR, 0).ok());
static BOLD_FACE: LazyLock<Option<Face<'static>>> = LazyLock::new(|| Face::parse(BOLD, 0).ok());

fn face(bold: bool) -> Option<&'static Face<'static>> {
    if bold { BOLD_FACE.as_ref() } else { REGULAR_FACE.as_ref() }
}

/// Whether the font has the character `c`.
pub fn has(c: char, bold: bool) -> bool {
    face(bold).is_some_and(|face| face.glyph_index(c).is_some())
}

/// `text` on one line, with only characters that the font has.
pub fn printable(text: &str, bold: bool) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().map(|c| if has(c, bold) { c } else { MISSING }).collect()
}

/// Width of `text` in px at the font size `size`, without kerning: within 3 % of the drawn width.
pub fn width(text: &str, size: f64, bold: bool) -> f64 {
    let Some(face) = face(bold) else { return text.chars().count() as f64 * size * FALLBACK_WIDTH };
    let advance = |c| face.glyph_index(c).and_then(|glyph| face.glyph_hor_advance(glyph));
    let units: f64 = text.chars().map(|c| advance(c).map_or(0.0, f64::from)).sum();
    units * size / f64::from(face.units_per_em())
}

/// As much of `text` as fits into `space` px, with an ellipsis if it was cut.
pub fn elide(text: &str, size: f64, bold: bool, space: f64) -> String {
    if width(text, size, bold) <= space {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while kept.pop().is_some() {
        let short = format!("{}…", kept.iter().collect::<String>().trim_end());
        if width(&short, size, bold) <= space {
            return short;
        }
    }
    String::new()
}

/// `text` in at most `most` lines of `space` px, broken at spaces. A line that is still too long ends in an ellipsis.
pub fn fold(text: &str, size: f64, bold: bool, space: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let all = lines.len() >= most;
        match lines.last_mut() {
            Some(line) if all || width(&format!("{line} {word}"), size, bold) <= space => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| elide(line, size, bold, space)).collect()
}

/// `parts` joined by ` · `, with line breaks between parts so that no line exceeds `space` px.
pub fn wrap(parts: &[String], size: f64, space: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} · {part}"), size, false) <= space => {
                line.push_str(" · ");
                line.push_str(part);
            }
            _ => lines.push(elide(part, size, false, space)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_faces_hold_what_figures_need() {
        for c in
            " 0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:;·±–×%()+-=/?……≥≤<>[]{}'\"_#→".chars()
        {
            assert!(has(c, false) && has(c, true), "{c:?}");
        }
    }

    #[test]
    fn texts_are_measured_cut_and_made_printable() {
        assert!((width("0000", 10.0, false) - 4.0 * width("0", 10.0, false)).abs() < 1e-9);
        assert!(width("learning", 12.0, true) > width("learning", 12.0, false));
        assert_eq!(printable("a\n\tb 漢", false), "a b ?");
        let cut = elide("a rather long configuration", 12.0, false, 80.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0, false) <= 80.0, "{cut}");
        assert_eq!(elide("abc", 12.0, false, 3.0), "");
        assert_eq!(fold("synonym choose context", 12.0, false, 100.0, 2), ["synonym choose", "context"]);
        assert_eq!(fold("synonym choose context", 12.0, false, 52.0, 2), ["synonym", "choose…"]);
        assert_eq!(fold("a b", 12.0, false, 100.0, 1), ["a b"]);
        let parts = ["one part".to_owned(), "another part".to_owned(), String::new(), "third".to_owned()];
        assert_eq!(wrap(&parts, 12.0, 150.0), ["one part · another part", "third"]);
    }
}
