//! The pixels of a PNG: colours, opacity, lines and letters have their place, within a tolerance.

use crate::report::canvas::render;
use crate::report::canvas::scene::{Align, Colour, Scene, Text, palette};

/// Of a channel, from 0 to 255: what rounding on the way may change.
const TOLERANCE: i32 = 3;

struct Picture {
    width: usize,
    pixels: Vec<u8>,
}

impl Picture {
    fn of(scene: &Scene) -> Self {
        let png = render::png(scene, &render::svg(scene).unwrap(), "test").unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((f64::from(info.width), f64::from(info.height)), (2.0 * scene.width, 2.0 * scene.height));
        Self { width: info.width as usize, pixels }
    }

    /// The colour at a place in CSS px.
    fn at(&self, (x, y): (f64, f64)) -> [u8; 3] {
        let start = 3 * ((2.0 * y) as usize * self.width + (2.0 * x) as usize);
        [self.pixels[start], self.pixels[start + 1], self.pixels[start + 2]]
    }

    fn shows(&self, place: (f64, f64), expected: Colour) {
        let (seen, expected) = (self.at(place), expected.on_background().rgb);
        let near = seen.iter().zip(expected).all(|(a, b)| (i32::from(*a) - i32::from(b)).abs() <= TOLERANCE);
        assert!(near, "{place:?}: {seen:?} instead of {expected:?}");
    }

    /// Bounds, in CSS px, of the pixels darker than a middle grey.
    fn dark(&self) -> [f64; 4] {
        let mut bounds = [f64::INFINITY, f64::INFINITY, 0.0, 0.0];
        for (index, pixel) in self.pixels.chunks_exact(3).enumerate().filter(|(_, pixel)| pixel[1] < 128) {
            assert!(pixel.len() == 3);
            let (x, y) = ((index % self.width) as f64 / 2.0, (index / self.width) as f64 / 2.0);
            bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x + 0.5), bounds[3].max(y + 0.5)];
        }
        bounds
    }
}

fn scene(draw: impl FnOnce(&mut Scene)) -> Picture {
    let mut scene = Scene::new("test", "test");
    (scene.width, scene.height) = (200.0, 100.0);
    draw(&mut scene);
    Picture::of(&scene)
}

#[test]
fn marks_have_their_place_and_colour() {
    let picture = scene(|scene| {
        scene.rect([10.0, 10.0, 50.0, 40.0], palette::PLATEAU);
        scene.rect([60.0, 10.0, 90.0, 40.0], palette::RISING.alpha(0.3));
        scene.disc((120.0, 25.0), 6.0, palette::TRAIN);
        scene.line(&[(10.0, 60.0), (190.0, 60.0)], 2.0, palette::EVAL);
        scene.line(&[(10.0, 80.0), (60.0, f64::NAN), (100.0, 80.0), (190.0, 80.0)], 2.0, palette::FAILED);
    });
    picture.shows((30.0, 25.0), palette::PLATEAU);
    picture.shows((75.0, 25.0), palette::RISING.alpha(0.3));
    picture.shows((120.0, 25.0), palette::TRAIN);
    picture.shows((100.0, 60.0), palette::EVAL);
    picture.shows((150.0, 80.0), palette::FAILED);
    for nothing in [(5.0, 5.0), (55.0, 25.0), (120.0, 33.0), (100.0, 63.0), (30.0, 80.0), (98.0, 80.0)] {
        picture.shows(nothing, palette::BACKGROUND);
    }
}

/// Letters lie within the box that layout keeps free for them, and fill it.
#[test]
fn letters_fill_their_boxes() {
    for (align, rotated) in [(Align::Left, false), (Align::Middle, false), (Align::Right, false), (Align::Middle, true)]
    {
        let text = Text::new(100.0, 50.0, "Hxg (10 %)").size(14.0).colour(palette::BLACK).align(align);
        let text = if rotated { text.rotated() } else { text };
        let expected = text.bounds();
        let found = scene(|scene| scene.text(text)).dark();
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let (out, within) =
                if index < 2 { (expected - found, found - expected) } else { (found - expected, expected - found) };
            assert!(out < 1.5 && within < 5.0, "{align:?} {rotated}: side {index} at {found} instead of {expected}");
        }
    }
}
