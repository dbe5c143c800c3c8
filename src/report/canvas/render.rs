//! Renders a scene as SVG, with plotters, and as PNG, with resvg.
//!
//! plotters rounds every coordinate to a whole number, so the SVG has ten units a pixel, which keeps curves smooth. The SVG
//! names the typeface; in the PNG it is drawn. Equal scenes give equal bytes.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use plotters::backend::SVGBackend;
use plotters_backend::text_anchor::{HPos, Pos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, FontFamily, FontStyle, FontTransform,
};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg;

use super::font;
use super::scene::{Align, Colour, Item, Scene, Text};
use crate::report::ReportError;

/// Units of the SVG view box for each CSS pixel.
const GRID: f64 = 10.0;
/// Pixels of the PNG for each CSS pixel: 192 dpi.
const DENSITY: f32 = 2.0;
/// Attributes of the root element of every figure. Other programs hardly write the same.
const ROOT: &str = r#"stroke-linejoin="round" stroke-linecap="round" role="img""#;
/// The name of the program in the metadata of a PNG, before its version.
const SOFTWARE: &str = "plateau ";
/// plotters writes a font size divided by this.
const PLOTTERS_FONT_SCALE: f64 = 1.24;
/// plotters puts the baseline this many font sizes below the y of a text anchored at its top.
const PLOTTERS_BASELINE: f64 = 0.76;

static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(font::REGULAR.to_vec());
    fonts.load_font_data(font::BOLD.to_vec());
    Arc::new(fonts)
});

/// The scene as an SVG document, sized in CSS px.
pub fn svg(scene: &Scene) -> Result<String, ReportError> {
    let (width, height) = (grid(scene.width) as u32, grid(scene.height) as u32);
    let mut drawn = String::new();
    {
        let mut backend = SVGBackend::with_string(&mut drawn, (width, height));
        for item in &scene.items {
            draw(&mut backend, item).map_err(|error| ReportError::Draw(scene.name, error.to_string()))?;
        }
        backend.present().map_err(|error| ReportError::Draw(scene.name, error.to_string()))?;
    }
    let root = format!(r#"<svg width="{width}" height="{height}" viewBox"#);
    let sized = format!(r#"<svg width="{}" height="{}" {ROOT} viewBox"#, scene.width, scene.height);
    // A line break after a text would be drawn as a space by browsers that keep it.
    Ok(drawn.replacen(&root, &sized, 1).replace("\n</text>", "</text>"))
}

fn grid(px: f64) -> i32 {
    (px * GRID).round() as i32
}

fn draw(backend: &mut SVGBackend, item: &Item) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let place = |&(x, y): &(f64, f64)| (grid(x), grid(y));
    match item {
        Item::Line { points, width, colour } => {
            let style = Stroke { colour: *colour, width: grid(*width).max(1) as u32 };
            backend.draw_path(points.iter().map(place), &style)?;
        }
        Item::Area { points, colour } => backend.fill_polygon(points.iter().map(place), &backend_colour(*colour))?,
        Item::Disc { centre, radius, colour } => {
            backend.draw_circle(place(centre), grid(*radius) as u32, &backend_colour(*colour), true)?;
        }
        Item::Text(text) => {
            let lift = PLOTTERS_BASELINE * text.size;
            let (x, y) = if text.rotated { (text.x - lift, text.y) } else { (text.x, text.y - lift) };
            backend.draw_text(&text.content, &Style(text), (grid(x), grid(y)))?;
        }
    }
    Ok(())
}

fn backend_colour(colour: Colour) -> BackendColor {
    let [r, g, b] = colour.rgb;
    BackendColor { alpha: colour.alpha, rgb: (r, g, b) }
}

struct Stroke {
    colour: Colour,
    width: u32,
}

impl BackendStyle for Stroke {
    fn color(&self) -> BackendColor {
        backend_colour(self.colour)
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

/// A text as plotters describes it. The SVG backend does not ask for the layout.
struct Style<'a>(&'a Text);

impl BackendTextStyle for Style<'_> {
    type FontError = Infallible;

    fn color(&self) -> BackendColor {
        backend_colour(self.0.colour)
    }

    fn size(&self) -> f64 {
        self.0.size * GRID * PLOTTERS_FONT_SCALE
    }

    fn transform(&self) -> FontTransform {
        if self.0.rotated { FontTransform::Rotate270 } else { FontTransform::None }
    }

    fn style(&self) -> FontStyle {
        if self.0.bold { FontStyle::Bold } else { FontStyle::Normal }
    }

    fn anchor(&self) -> Pos {
        let across = match self.0.align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        Pos::new(across, VPos::Top)
    }

    fn family(&self) -> FontFamily<'_> {
        FontFamily::Name(font::FAMILY)
    }

    fn layout_box(&self, _text: &str) -> Result<((i32, i32), (i32, i32)), Infallible> {
        Ok(((0, 0), (grid(self.0.width()), grid(self.0.size))))
    }

    fn draw<E, F: FnMut(i32, i32, BackendColor) -> Result<(), E>>(
        &self,
        _text: &str,
        _at: BackendCoord,
        _draw: F,
    ) -> Result<Result<(), E>, Infallible> {
        Ok(Ok(()))
    }
}

/// The parsed SVG, with its texts laid out in the embedded typeface.
pub fn tree(svg: &str) -> Result<usvg::Tree, usvg::Error> {
    let options = usvg::Options { font_family: "Inter".into(), fontdb: Arc::clone(&FONTS), ..usvg::Options::default() };
    usvg::Tree::from_str(svg, &options)
}

/// The scene as PNG on white: 192 dots an inch, with its title and `source` as metadata.
pub fn png(scene: &Scene, svg: &str, source: &str) -> Result<Vec<u8>, ReportError> {
    let failed = |why: String| ReportError::Draw(scene.name, why);
    let tree = tree(svg).map_err(|error| failed(error.to_string()))?;
    let (width, height) = ((scene.width as f32 * DENSITY) as u32, (scene.height as f32 * DENSITY) as u32);
    let mut pixmap = Pixmap::new(width, height).ok_or_else(|| failed(format!("{width} x {height} pixels")))?;
    pixmap.fill(resvg::tiny_skia::Color::WHITE);
    resvg::render(&tree, Transform::from_scale(DENSITY, DENSITY), &mut pixmap.as_mut());
    encode(scene, &without_alpha(pixmap.data()), (width, height), source).map_err(|error| failed(error.to_string()))
}

/// The colours of an opaque picture, which needs no alpha channel.
fn without_alpha(rgba: &[u8]) -> Vec<u8> {
    let (pixels, _) = rgba.as_chunks::<4>();
    let mut rgb = vec![0; 3 * pixels.len()];
    // A loop over arrays is quick also in a development build, where every report passes ten million pixels through it.
    for (colour, [r, g, b, _]) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
        *colour = [*r, *g, *b];
    }
    rgb
}

/// Whether `bytes` are a figure that this module drew: by the metadata of a PNG, or the root element of an SVG.
pub fn is_own_figure(bytes: &[u8]) -> bool {
    if let Ok(reader) = png::Decoder::new(std::io::Cursor::new(bytes)).read_info() {
        let own = |text: String| text.starts_with(SOFTWARE);
        let mut chunks = reader.info().utf8_text.iter().filter(|chunk| chunk.keyword == "Software");
        return chunks.any(|chunk| chunk.get_text().is_ok_and(own));
    }
    let root = bytes.split(|byte| *byte == b'>').next().unwrap_or_default();
    std::str::from_utf8(root).is_ok_and(|root| root.starts_with("<svg ") && root.contains(ROOT))
}

fn encode(scene: &Scene, rgb: &[u8], (width, height): (u32, u32), source: &str) -> Result<Vec<u8>, png::EncodingError> {
    /// 192 dots an inch.
    const DOTS_A_METRE: u32 = 7559;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let (xppu, yppu) = (DOTS_A_METRE, DOTS_A_METRE);
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu, yppu, unit: png::Unit::Meter }));
    encoder.add_itxt_chunk("Title".into(), scene.title.clone())?;
    encoder.add_itxt_chunk("Software".into(), format!("{SOFTWARE}{}", env!("CARGO_PKG_VERSION")))?;
    encoder.add_itxt_chunk("Source".into(), source.to_owned())?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}
