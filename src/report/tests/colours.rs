//! Colours that mean different things look different, also to eyes without green cones.

use crate::report::canvas::scene::{Colour, palette};

/// CIE76 distance (Euclidean in CIELAB, D65) that two meanings are apart at least; about 2.3 is just noticeable (Mahy et
/// al. 1994).
const LEAST: f64 = 15.0;

/// Linear light of a colour.
fn linear(colour: Colour) -> [f64; 3] {
    colour.rgb.map(|c| {
        let c = f64::from(c) / 255.0;
        if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    })
}

/// As complete deuteranopia sees it: Machado, Oliveira and Fernandes (2009), severity 1.
fn deuteranopic([r, g, b]: [f64; 3]) -> [f64; 3] {
    [
        0.367_322 * r + 0.860_646 * g - 0.227_968 * b,
        0.280_085 * r + 0.672_501 * g + 0.047_413 * b,
        -0.011_820 * r + 0.042_940 * g + 0.968_881 * b,
    ]
    .map(|c| c.clamp(0.0, 1.0))
}

/// CIELAB from linear sRGB, white point D65.
fn lab([r, g, b]: [f64; 3]) -> [f64; 3] {
    let f = |t: f64| if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 };
    let x = f((0.412_456_4 * r + 0.357_576_1 * g + 0.180_437_5 * b) / 0.950_47);
    let y = f(0.212_672_9 * r + 0.715_152_2 * g + 0.072_175_0 * b);
    let z = f((0.019_333_9 * r + 0.119_192_0 * g + 0.950_304_1 * b) / 1.088_83);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// The smallest distance of two colours over all kinds of colour vision.
fn distance(a: Colour, b: Colour) -> f64 {
    let apart = |see: fn([f64; 3]) -> [f64; 3]| {
        let (a, b) = (lab(see(linear(a))), lab(see(linear(b))));
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    apart(|c| c).min(apart(deuteranopic))
}

fn apart(named: &[(&str, Colour)]) {
    for (i, (a, one)) in named.iter().enumerate() {
        for (b, other) in &named[..i] {
            let distance = distance(*one, *other);
            assert!(distance >= LEAST, "{a} and {b} are {distance:.1} apart");
        }
    }
}

#[test]
fn the_measure_is_right() {
    assert!((distance(Colour::new(0), Colour::new(0xFF_FFFF)) - 100.0).abs() < 0.1);
    // Red and a green of one lightness: far apart to most, nearly one to a deuteranope.
    let (red, green) = (Colour::new(0xA0_4040), Colour::new(0x5E_6A3C));
    assert!(distance(red, green) < 2.3);
}

#[test]
fn meanings_are_distinguishable() {
    apart(&[
        ("train", palette::TRAIN),
        ("eval", palette::EVAL),
        ("plateau", palette::PLATEAU),
        ("context", palette::CONTEXT),
    ]);
    apart(&[
        ("plateau", palette::PLATEAU),
        ("rising", palette::RISING),
        ("falling", palette::FALLING),
        ("nothing", palette::BACKGROUND),
    ]);
    apart(&[("failed", palette::FAILED), ("eval", palette::EVAL), ("train", palette::TRAIN), ("text", palette::TEXT)]);
}

#[test]
fn categories_are_distinguishable() {
    let names = ["1", "2", "3", "4", "5", "6"];
    let marks: Vec<(&str, Colour)> = names.into_iter().zip(palette::CATEGORIES.map(|pair| pair.0)).collect();
    apart(&marks);
}

/// A scale of colours has no two alike, and gets lighter all the way.
#[test]
fn ordered_colours_rise() {
    let inks: Vec<Colour> = (0..=6).map(|i| palette::ordered(f64::from(i) / 6.0)).collect();
    let lightness = |colour: &Colour| lab(deuteranopic(linear(*colour)))[0];
    assert!(inks.windows(2).all(|pair| lightness(&pair[1]) > lightness(&pair[0]) + 4.0));
    for pair in inks.windows(2) {
        assert!(distance(pair[0], pair[1]) >= 10.0);
    }
}
