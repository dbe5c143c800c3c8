//! What to draw, as plain data in CSS pixels: figures are made of this, renderers know nothing else.
//!
//! Every coordinate in a scene is finite: [`Scene::line`] breaks at values that are not, so that a NaN never becomes a
//! place on an axis.

use super::font;

/// A colour with opacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ink {
    pub rgb: [u8; 3],
    /// 0 to 1.
    pub alpha: f64,
}

impl Ink {
    pub const fn new(hex: u32) -> Self {
        Self { rgb: [(hex >> 16) as u8, (hex >> 8) as u8, hex as u8], alpha: 1.0 }
    }

    #[must_use]
    pub const fn alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }
}

/// The colours of all figures: one meaning each (Okabe and Ito's, which colour-blind readers tell apart).
pub mod ink {
    use super::Ink;

    pub const TRAIN: Ink = Ink::new(0x00_72B2);
    pub const EVAL: Ink = Ink::new(0xD5_5E00);
    pub const PLATEAU: Ink = Ink::new(0x00_9E73);
    pub const RISING: Ink = Ink::new(0xE6_9F00);
    pub const FAILED: Ink = Ink::new(0xA3_2A1C);
    /// Text darker than the marks of the same meaning, for contrast.
    pub const EVAL_TEXT: Ink = Ink::new(0xBF_5300);
    pub const PLATEAU_TEXT: Ink = Ink::new(0x00_7554);
    pub const RISING_TEXT: Ink = Ink::new(0x85_5C00);
    pub const TEXT: Ink = Ink::new(0x1A_1C23);
    pub const QUIET: Ink = Ink::new(0x62_6B77);
    pub const CONTEXT: Ink = Ink::new(0x6B_7280);
    pub const AXIS: Ink = Ink::new(0x8A_93A0);
    pub const GRID: Ink = Ink::new(0xE6_E8EC);
    pub const PANEL: Ink = Ink::new(0xF3_F4F6);
    pub const PAPER: Ink = Ink::new(0xFF_FFFF);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Middle,
    Right,
}

/// A text on one line. `y` is the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    pub x: f64,
    pub y: f64,
    pub size: f64,
    pub bold: bool,
    pub align: Align,
    pub ink: Ink,
    /// Reads upwards, along the y axis.
    pub upright: bool,
    pub content: String,
}

impl Text {
    /// Quiet text of 12 px, to the right of x.
    pub fn new(x: f64, y: f64, text: impl Into<String>) -> Self {
        let (size, bold, align, ink) = (12.0, false, Align::Left, ink::QUIET);
        Self { x, y, size, bold, align, ink, upright: false, content: text.into() }
    }

    #[must_use]
    pub fn ink(self, ink: Ink) -> Self {
        Self { ink, ..self }
    }

    #[must_use]
    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    #[must_use]
    pub fn size(self, size: f64) -> Self {
        Self { size, ..self }
    }

    #[must_use]
    pub fn align(self, align: Align) -> Self {
        Self { align, ..self }
    }

    #[must_use]
    pub fn upright(self) -> Self {
        Self { upright: true, ..self }
    }

    pub fn width(&self) -> f64 {
        font::width(&self.content, self.size, self.bold)
    }

    /// Left, top, right, bottom of what is drawn.
    pub fn bounds(&self) -> [f64; 4] {
        let (width, above, below) = (self.width(), 0.74 * self.size, 0.21 * self.size);
        let before = match self.align {
            Align::Left => 0.0,
            Align::Middle => width / 2.0,
            Align::Right => width,
        };
        if self.upright {
            [self.x - above, self.y + before - width, self.x + below, self.y + before]
        } else {
            [self.x - before, self.y - above, self.x - before + width, self.y + below]
        }
    }
}

/// Something to draw; later ones lie on top.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Line {
        points: Vec<(f64, f64)>,
        width: f64,
        ink: Ink,
    },
    /// Filled.
    Area {
        points: Vec<(f64, f64)>,
        ink: Ink,
    },
    Disc {
        centre: (f64, f64),
        radius: f64,
        ink: Ink,
    },
    Text(Text),
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// File name without extension.
    pub name: &'static str,
    /// For metadata, and for readers who do not see the figure.
    pub title: String,
    pub width: f64,
    pub height: f64,
    pub items: Vec<Item>,
}

impl Scene {
    /// An empty figure of the common width; figures set the height when they know it.
    pub fn new(name: &'static str, title: impl Into<String>) -> Self {
        Self { name, title: title.into(), width: WIDTH, height: 0.0, items: Vec::new() }
    }

    /// A polyline, broken where a coordinate is not finite.
    pub fn line(&mut self, points: &[(f64, f64)], width: f64, ink: Ink) {
        for piece in points.split(|(x, y)| !x.is_finite() || !y.is_finite()).filter(|piece| piece.len() > 1) {
            self.items.push(Item::Line { points: piece.to_vec(), width, ink });
        }
    }

    /// A horizontal line of dashes.
    pub fn dashes(&mut self, (from, to): (f64, f64), y: f64, ink: Ink) {
        let (dash, gap) = (6.0, 4.0);
        let mut x = from;
        while x < to {
            self.line(&[(x, y), ((x + dash).min(to), y)], 1.0, ink);
            x += dash + gap;
        }
    }

    /// A filled polygon; nothing if a corner is not finite.
    pub fn area(&mut self, points: Vec<(f64, f64)>, ink: Ink) {
        if points.len() > 2 && points.iter().all(|(x, y)| x.is_finite() && y.is_finite()) {
            self.items.push(Item::Area { points, ink });
        }
    }

    pub fn rect(&mut self, [left, top, right, bottom]: [f64; 4], ink: Ink) {
        if right > left && bottom > top {
            self.area(vec![(left, top), (right, top), (right, bottom), (left, bottom)], ink);
        }
    }

    pub fn disc(&mut self, centre: (f64, f64), radius: f64, ink: Ink) {
        if centre.0.is_finite() && centre.1.is_finite() {
            self.items.push(Item::Disc { centre, radius, ink });
        }
    }

    /// The mark of a best checkpoint.
    pub fn diamond(&mut self, (x, y): (f64, f64), radius: f64, ink: Ink) {
        self.area(vec![(x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y)], ink);
    }

    /// The mark of a failure.
    pub fn cross(&mut self, (x, y): (f64, f64), radius: f64, ink: Ink) {
        self.line(&[(x - radius, y - radius), (x + radius, y + radius)], 1.6, ink);
        self.line(&[(x - radius, y + radius), (x + radius, y - radius)], 1.6, ink);
    }

    /// A text in characters that the font has; nothing for an empty one.
    pub fn text(&mut self, text: Text) {
        let mut text = text;
        text.content = font::printable(&text.content, text.bold);
        if !text.content.is_empty() {
            self.items.push(Item::Text(text));
        }
    }

    /// A text on a translucent plate, readable over curves.
    pub fn plate(&mut self, text: Text) {
        if text.content.is_empty() {
            return;
        }
        let [left, top, right, bottom] = text.bounds();
        self.rect([left - 3.0, top - 2.5, right + 3.0, bottom + 2.0], ink::PAPER.alpha(0.84));
        self.text(text);
    }

    /// Title and subtitle at the top of every figure; returns the y below them.
    pub fn heading(&mut self, subtitle: &[String]) -> f64 {
        let title = font::elide(&font::printable(&self.title, true), 17.0, true, WIDTH - 2.0 * MARGIN);
        self.text(Text::new(MARGIN, 28.0, title).size(17.0).bold().ink(ink::TEXT));
        self.lines(48.0, subtitle)
    }

    /// `parts` as quiet lines from the baseline `y` on; returns the y below them.
    pub fn lines(&mut self, y: f64, parts: &[String]) -> f64 {
        let lines = font::wrap(parts, 12.0, WIDTH - 2.0 * MARGIN);
        let mut y = y;
        for line in lines {
            self.text(Text::new(MARGIN, y, line));
            y += 17.0;
        }
        y
    }

    /// `parts` as quiet lines below everything else.
    pub fn footer(&mut self, parts: &[String]) {
        self.height = self.lines(self.height + 8.0, parts) - 4.0;
    }

    #[cfg(test)]
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        self.items.iter().filter_map(|item| if let Item::Text(text) = item { Some(text) } else { None })
    }
}

/// Of every figure, px.
pub const WIDTH: f64 = 1000.0;
/// Left and right of every figure, px.
pub const MARGIN: f64 = 24.0;
