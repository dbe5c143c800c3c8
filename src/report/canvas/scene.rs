//! A scene: what to draw, as plain data in CSS pixels. Figures build scenes, renderers draw them.
//!
//! Every coordinate in a scene is finite. [`Scene::line`] breaks at non-finite values, so that a NaN never becomes a
//! position on an axis.

use super::font;

/// A colour with opacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colour {
    pub rgb: [u8; 3],
    /// 0 to 1.
    pub alpha: f64,
}

impl Colour {
    pub const fn new(hex: u32) -> Self {
        Self { rgb: [(hex >> 16) as u8, (hex >> 8) as u8, hex as u8], alpha: 1.0 }
    }

    /// The opaque colour that this one shows as on the white background.
    #[must_use]
    pub fn on_background(self) -> Self {
        let mix = |c: u8| (255.0 + (f64::from(c) - 255.0) * self.alpha).round() as u8;
        Self { rgb: self.rgb.map(mix), alpha: 1.0 }
    }

    #[must_use]
    pub const fn alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }
}

/// The colours of all figures, each with one meaning (the palette of Okabe and Ito, for colour-blind readers).
pub mod palette {
    use super::Colour;

    pub const TRAIN: Colour = Colour::new(0x00_72B2);
    pub const EVAL: Colour = Colour::new(0xD5_5E00);
    pub const PLATEAU: Colour = Colour::new(0x00_9E73);
    pub const RISING: Colour = Colour::new(0xE6_9F00);
    pub const FAILED: Colour = Colour::new(0xA3_2A1C);
    /// Text is darker than marks of the same meaning, for contrast.
    pub const EVAL_TEXT: Colour = Colour::new(0xBF_5300);
    pub const PLATEAU_TEXT: Colour = Colour::new(0x00_7554);
    pub const RISING_TEXT: Colour = Colour::new(0x85_5C00);
    pub const TEXT: Colour = Colour::new(0x1A_1C23);
    pub const MUTED: Colour = Colour::new(0x62_6B77);
    pub const CONTEXT: Colour = Colour::new(0x6B_7280);
    pub const AXIS: Colour = Colour::new(0x8A_93A0);
    pub const GRID: Colour = Colour::new(0xE6_E8EC);
    pub const PANEL: Colour = Colour::new(0xF3_F4F6);
    pub const BACKGROUND: Colour = Colour::new(0xFF_FFFF);
    pub const BLACK: Colour = Colour::new(0);
    /// A loss that still falls.
    pub const FALLING: Colour = Colour::new(0xB6_D3E8);
    /// The hatching of a failed configuration.
    pub const HATCH: Colour = Colour::new(0xC3_C9D1);

    /// Categories: colours of marks and of their labels. A label is darker if the mark is light.
    pub const CATEGORIES: [(Colour, Colour); 6] = [
        (TRAIN, TRAIN),
        (EVAL, EVAL_TEXT),
        (PLATEAU, PLATEAU_TEXT),
        (Colour::new(0xCC_79A7), Colour::new(0x9A_4476)),
        (RISING, RISING_TEXT),
        (Colour::new(0x56_B4E9), Colour::new(0x1F_74A6)),
    ];

    /// Viridis (van der Walt and Smith), in eighths.
    const VIRIDIS: [Colour; 9] = [
        Colour::new(0x44_0154),
        Colour::new(0x47_2D7B),
        Colour::new(0x3B_528B),
        Colour::new(0x2C_728E),
        Colour::new(0x21_918C),
        Colour::new(0x28_AE80),
        Colour::new(0x5E_C962),
        Colour::new(0xAD_DC30),
        Colour::new(0xFD_E725),
    ];

    /// The colour of an ordered value; `share` from 0 (dark) to 1 (light).
    pub fn ordered(share: f64) -> Colour {
        let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
        let first = (place as usize).min(VIRIDIS.len() - 2);
        let (a, b, part) = (VIRIDIS[first].rgb, VIRIDIS[first + 1].rgb, place - first as f64);
        let mix = |i: usize| (f64::from(a[i]) + (f64::from(b[i]) - f64::from(a[i])) * part).round() as u8;
        Colour { rgb: [mix(0), mix(1), mix(2)], alpha: 1.0 }
    }

    /// Black or white, whichever has more contrast on `ground` (relative luminance of WCAG 2, with gamma 2.2).
    pub fn on(ground: Colour) -> Colour {
        let [r, g, b] = ground.rgb.map(|c| (f64::from(c) / 255.0).powf(2.2));
        if 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 { BLACK } else { BACKGROUND }
    }
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
    pub colour: Colour,
    /// Whether it is rotated by 90 degrees and reads upwards.
    pub rotated: bool,
    pub content: String,
}

impl Text {
    /// A muted text of 12 px, to the right of `x`.
    pub fn new(x: f64, y: f64, text: impl Into<String>) -> Self {
        let (size, bold, align, colour) = (12.0, false, Align::Left, palette::MUTED);
        Self { x, y, size, bold, align, colour, rotated: false, content: text.into() }
    }

    #[must_use]
    pub fn colour(self, colour: Colour) -> Self {
        Self { colour, ..self }
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
    pub fn rotated(self) -> Self {
        Self { rotated: true, ..self }
    }

    pub fn width(&self) -> f64 {
        font::width(&self.content, self.size, self.bold)
    }

    /// Left, top, right, bottom of the drawn text.
    pub fn bounds(&self) -> [f64; 4] {
        let (width, above, below) = (self.width(), 0.74 * self.size, 0.21 * self.size);
        let before = match self.align {
            Align::Left => 0.0,
            Align::Middle => width / 2.0,
            Align::Right => width,
        };
        if self.rotated {
            [self.x - above, self.y + before - width, self.x + below, self.y + before]
        } else {
            [self.x - before, self.y - above, self.x - before + width, self.y + below]
        }
    }
}

/// Something to draw. Later items lie on top.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Line {
        points: Vec<(f64, f64)>,
        width: f64,
        colour: Colour,
    },
    /// Filled.
    Area {
        points: Vec<(f64, f64)>,
        colour: Colour,
    },
    Disc {
        centre: (f64, f64),
        radius: f64,
        colour: Colour,
    },
    Text(Text),
}

/// A mark in a legend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    Swatch(Colour),
    /// White lines over a swatch.
    Hatched(Colour),
    Line(Colour),
    Diamond(Colour),
    Disc(Colour),
    Ring(Colour),
    Cross,
    Dashes,
}

impl Mark {
    fn draw(self, scene: &mut Scene, (x, y): (f64, f64)) {
        let square = [x - 5.0, y - 5.0, x + 5.0, y + 5.0];
        match self {
            Self::Swatch(colour) => scene.rect(square, colour),
            Self::Hatched(colour) => {
                scene.rect(square, colour);
                scene.hatch(square, palette::BACKGROUND);
            }
            Self::Line(colour) => scene.line(&[(x - 6.0, y), (x + 6.0, y)], 2.2, colour),
            Self::Diamond(colour) => scene.diamond((x, y), 4.4, colour),
            Self::Disc(colour) => scene.disc((x, y), 4.0, colour),
            Self::Ring(colour) => scene.ring((x, y), 4.0, colour),
            Self::Cross => scene.cross((x, y), 3.6, palette::FAILED),
            Self::Dashes => scene.dashed(&[(x - 6.0, y), (x + 6.0, y)], 1.4, palette::CONTEXT),
        }
    }
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The file name without extension.
    pub name: &'static str,
    /// For the heading, the metadata, and screen readers.
    pub title: String,
    pub width: f64,
    pub height: f64,
    pub items: Vec<Item>,
}

impl Scene {
    /// An empty figure of the common width. The figure sets the height at the end.
    pub fn new(name: &'static str, title: impl Into<String>) -> Self {
        Self { name, title: title.into(), width: WIDTH, height: 0.0, items: Vec::new() }
    }

    /// A polyline, broken at non-finite coordinates.
    pub fn line(&mut self, points: &[(f64, f64)], width: f64, colour: Colour) {
        for piece in points.split(|(x, y)| !x.is_finite() || !y.is_finite()).filter(|piece| piece.len() > 1) {
            self.items.push(Item::Line { points: piece.to_vec(), width, colour });
        }
    }

    /// A horizontal dashed line.
    pub fn dashes(&mut self, (from, to): (f64, f64), y: f64, colour: Colour) {
        let (dash, gap) = (6.0, 4.0);
        let mut x = from;
        while x < to {
            self.line(&[(x, y), ((x + dash).min(to), y)], 1.0, colour);
            x += dash + gap;
        }
    }

    /// A dashed polyline. Every dash is an element of the SVG, so use it for few curves.
    pub fn dashed(&mut self, points: &[(f64, f64)], width: f64, colour: Colour) {
        const DASH: f64 = 4.0;
        let mut piece: Vec<(f64, f64)> = Vec::new();
        let mut walked = 0.0;
        for pair in points.windows(2).filter(|pair| pair.iter().all(|(x, y)| x.is_finite() && y.is_finite())) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let length = (x1 - x0).hypot(y1 - y0);
            let mut at = 0.0;
            while at < length {
                let step = (DASH - walked % DASH).min(length - at).max(0.01);
                let place = |at: f64| (x0 + (x1 - x0) * at / length, y0 + (y1 - y0) * at / length);
                if (walked as u64 / DASH as u64).is_multiple_of(2) {
                    if piece.is_empty() {
                        piece.push(place(at));
                    }
                    piece.push(place(at + step));
                } else if !piece.is_empty() {
                    self.line(&std::mem::take(&mut piece), width, colour);
                }
                at += step;
                walked += step;
            }
        }
        self.line(&piece, width, colour);
    }

    /// Slanted lines over a rectangle: the sign for a failure.
    pub fn hatch(&mut self, [left, top, right, bottom]: [f64; 4], colour: Colour) {
        const GAP: f64 = 7.0;
        let mut sum = left + top + GAP;
        while sum < right + bottom {
            // The part of the line x + y = sum that lies inside the rectangle.
            let (from, to) = ((sum - bottom).max(left), (sum - top).min(right));
            if to > from {
                self.line(&[(from, sum - from), (to, sum - to)], 0.9, colour);
            }
            sum += GAP;
        }
    }

    /// A legend from `x` on at the baseline `y`: each mark is 10 px wide, followed by its label.
    pub fn legend(&mut self, x: f64, y: f64, entries: &[(Mark, &str)]) {
        let mut x = x;
        for (mark, name) in entries {
            mark.draw(self, (x + 5.0, y - 4.0));
            let text = Text::new(x + 16.0, y, *name);
            x += text.width() + 36.0;
            self.text(text);
        }
    }

    /// A filled polygon; nothing if a coordinate is non-finite.
    pub fn area(&mut self, points: Vec<(f64, f64)>, colour: Colour) {
        if points.len() > 2 && points.iter().all(|(x, y)| x.is_finite() && y.is_finite()) {
            self.items.push(Item::Area { points, colour });
        }
    }

    pub fn rect(&mut self, [left, top, right, bottom]: [f64; 4], colour: Colour) {
        if right > left && bottom > top {
            self.area(vec![(left, top), (right, top), (right, bottom), (left, bottom)], colour);
        }
    }

    pub fn disc(&mut self, centre: (f64, f64), radius: f64, colour: Colour) {
        if centre.0.is_finite() && centre.1.is_finite() {
            self.items.push(Item::Disc { centre, radius, colour });
        }
    }

    /// A hollow disc.
    pub fn ring(&mut self, centre: (f64, f64), radius: f64, colour: Colour) {
        self.disc(centre, radius, colour.on_background());
        self.disc(centre, 0.55 * radius, palette::BACKGROUND);
    }

    /// The mark of a best checkpoint.
    pub fn diamond(&mut self, (x, y): (f64, f64), radius: f64, colour: Colour) {
        self.area(vec![(x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y)], colour);
    }

    /// The mark of a failure.
    pub fn cross(&mut self, (x, y): (f64, f64), radius: f64, colour: Colour) {
        self.line(&[(x - radius, y - radius), (x + radius, y + radius)], 1.6, colour);
        self.line(&[(x - radius, y + radius), (x + radius, y - radius)], 1.6, colour);
    }

    /// A text, with only characters that the font has; nothing for an empty one.
    pub fn text(&mut self, text: Text) {
        let mut text = text;
        text.content = font::printable(&text.content, text.bold);
        if !text.content.is_empty() {
            self.items.push(Item::Text(text));
        }
    }

    /// Several lines of text, centred at the place of `text`.
    pub fn multiline(&mut self, text: &Text, lines: &[String]) {
        let step = 1.2 * text.size;
        for (index, line) in lines.iter().enumerate() {
            let aside = step * (index as f64 - (lines.len() - 1) as f64 / 2.0);
            let (x, y) = if text.rotated { (text.x + aside, text.y) } else { (text.x, text.y + aside) };
            self.text(Text { x, y, content: line.clone(), ..text.clone() });
        }
    }

    /// A text on a translucent box, so that it is readable over curves.
    pub fn boxed_text(&mut self, text: Text) {
        if text.content.is_empty() {
            return;
        }
        let [left, top, right, bottom] = text.bounds();
        self.rect([left - 3.0, top - 2.5, right + 3.0, bottom + 2.0], palette::BACKGROUND.alpha(0.84));
        self.text(text);
    }

    /// Title and subtitle at the top of every figure; returns the y below them.
    pub fn heading(&mut self, subtitle: &[String]) -> f64 {
        let title = font::elide(&font::printable(&self.title, true), 17.0, true, WIDTH - 2.0 * MARGIN);
        self.text(Text::new(MARGIN, 28.0, title).size(17.0).bold().colour(palette::TEXT));
        self.caption(48.0, subtitle)
    }

    /// `parts` as lines of muted text from the baseline `y` on; returns the y below them.
    pub fn caption(&mut self, y: f64, parts: &[String]) -> f64 {
        // Measured as drawn: characters that are not in the font are replaced first.
        let parts: Vec<String> = parts.iter().map(|part| font::printable(part, false)).collect();
        let lines = font::wrap(&parts, 12.0, WIDTH - 2.0 * MARGIN);
        let mut y = y;
        for line in lines {
            self.text(Text::new(MARGIN, y, line));
            y += 17.0;
        }
        y
    }

    /// `parts` as lines of muted text below everything else.
    pub fn footer(&mut self, parts: &[String]) {
        self.height = self.caption(self.height + 8.0, parts) - 4.0;
    }

    #[cfg(test)]
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        self.items.iter().filter_map(|item| if let Item::Text(text) = item { Some(text) } else { None })
    }
}

/// Width of every figure, px.
pub const WIDTH: f64 = 1000.0;
/// Left and right margin of every figure, px.
pub const MARGIN: f64 = 24.0;
