//! Data files as users have them: what `plan` shows of them, and the faults that it finds before training.

use insta::assert_snapshot;

use crate::place::Place;

fn place(data: &str, train: impl AsRef<[u8]>) -> Place {
    let place = Place::new(&format!(
        "data: {{train: mine.csv, max_length: 16{data}}}\nmodel: {{from: checkpoint}}\nsteps: 2\n"
    ));
    place.write("mine.csv", train);
    place
}

const ROWS: &str = "text;label\nun bon café;pos\nun thé froid;neg\nune belle journée;pos\nil pleut;neg\nun bon café;pos\nla pluie;neg\n";

#[test]
fn plan_shows_what_is_in_the_data() {
    let latin: Vec<u8> = ROWS.chars().map(|letter| u8::try_from(letter as u32).unwrap()).collect();
    let place = place(", eval: mine.csv", &latin);
    assert_snapshot!(place.plain(&place.expect(0, "plan sweep.yaml").err), @"");
    assert_snapshot!(place.plain(&place.expect(0, "run sweep.yaml").err).lines().take(2).collect::<Vec<_>>().join("\n"), @"");
}

#[test]
fn bad_rows_stop_a_sweep_or_are_left_out() {
    let rows = format!("{ROWS}no label;\nno field\nnot a number;NaN\n");
    assert_snapshot!(place("", &rows).plain(&place("", &rows).expect(2, "plan sweep.yaml").err), @"");
    let skipped = place(", bad_rows: skip", &rows).expect(0, "plan sweep.yaml").err;
    assert!(skipped.contains("3 bad rows are left out (data.bad_rows: skip)"), "{skipped}");
}
