//! The page in a real browser, through its driver: Chromium and `chromedriver`, where both are installed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use super::{details, draw, provenance, sweeps};
use crate::analysis::Sweep;
use crate::analysis::synthetic::{self, axis};
use crate::skip::skip;

/// A browser without a window, driven as the W3C's `WebDriver` says.
struct Browser {
    driver: Child,
    agent: Agent,
    session: String,
    folder: TempDir,
}

/// The first of these programs that is in PATH.
fn program(names: &[&str]) -> Option<PathBuf> {
    let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

impl Browser {
    /// None, with a message, where there is no browser or no driver.
    fn start() -> Option<Self> {
        let browser = program(&["chromium", "chromium-browser", "google-chrome"]);
        let (Some(browser), Some(driver)) = (browser, program(&["chromedriver"])) else {
            skip("chromium", "chromium or chromedriver is not in PATH");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut driver =
            Command::new(driver).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let started = lines.map_while(Result::ok).find(|line| line.contains("started successfully on port")).unwrap();
        let port = started.rsplit(' ').next().unwrap().trim_end_matches('.').to_owned();
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_mins(2)));
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        let options = json!({
            "binary": browser, "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--window-size=1400,1000", profile],
        });
        let logs = json!({"browser": "ALL", "performance": "ALL"});
        let wanted = json!({"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logs}});
        let session = format!("http://127.0.0.1:{port}/session");
        let mut started = Self { driver, agent: config.build().into(), session, folder };
        let made = started.post("", &json!({"capabilities": wanted}));
        let Some(id) = made["sessionId"].as_str() else {
            skip("chromium", &format!("chromium does not start: {made}"));
            return None;
        };
        started.session = format!("{}/{id}", started.session);
        Some(started)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}{path}", self.session)).header("content-type", "application/json");
        let mut answer = request.send(body.to_string()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status().is_success(), "{path} {body}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()["value"].take()
    }

    /// Opens the page of `sweep`; what came with an earlier one is forgotten.
    fn open(&self, sweep: &Sweep) {
        let report = draw(sweep, &[], &provenance(), &details(sweep)).unwrap();
        let (_, page) = report.files.iter().find(|file| file.0 == "index.html").unwrap();
        let path = self.folder.path().join("index.html");
        std::fs::write(&path, page).unwrap();
        let url = format!("file://{}", path.display());
        self.post("/url", &json!({"url": url}));
        assert_eq!(self.run("return location.href"), url);
    }

    /// What the body of a function returns.
    fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a script returns this: some of what a click does is done a moment later.
    fn becomes(&self, script: &str, expected: &Value) {
        let start = Instant::now();
        while self.run(script) != *expected {
            assert!(start.elapsed() < Duration::from_secs(20), "{script}: {} for {expected}", self.run(script));
        }
    }

    fn element(&self, css: &str) -> Value {
        self.post("/element", &json!({"using": "css selector", "value": css}))
    }

    fn path_of(&self, css: &str) -> String {
        let element = self.element(css);
        format!("/element/{}", element.as_object().unwrap().values().next().unwrap().as_str().unwrap())
    }

    fn click(&self, css: &str) {
        self.post(&format!("{}/click", self.path_of(css)), &json!({}));
    }

    fn write(&self, css: &str, text: &str) {
        self.post(&format!("{}/value", self.path_of(css)), &json!({"text": text}));
    }

    /// Presses keys, wherever the focus is.
    fn press(&self, keys: &str) {
        let keys = keys.chars().flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})));
        let actions = [json!({"type": "key", "id": "keys", "actions": keys.collect::<Vec<_>>()})];
        self.post("/actions", &json!({"actions": actions}));
    }

    /// Moves the mouse over the middle of an element, and so far from there.
    fn point(&self, css: &str, (x, y): (i64, i64)) {
        self.run(&format!("document.querySelector(`{css}`).scrollIntoView({{ block: 'center' }})"));
        let step = json!({"type": "pointerMove", "duration": 0, "origin": self.element(css), "x": x, "y": y});
        self.post("/actions", &json!({"actions": [{"type": "pointer", "id": "mouse", "actions": [step]}]}));
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        self.post("/se/log", &json!({"type": kind})).as_array().unwrap().clone()
    }

    /// Fails if the browser logged an error, or requested anything but the file itself.
    fn check_no_errors(&self, what: &str) {
        let errors: Vec<String> = self.log("browser").iter().map(|line| line["message"].to_string()).take(3).collect();
        assert!(errors.is_empty(), "{what}: {errors:?}");
        for line in self.log("performance") {
            let line: Value = serde_json::from_str(line["message"].as_str().unwrap()).unwrap();
            let params = &line["message"]["params"];
            // The browser has pages of its own.
            let is_of_page = params["documentURL"].as_str().is_some_and(|url| url.starts_with("file:"));
            if line["message"]["method"] == "Network.requestWillBeSent" && is_of_page {
                let url = params["request"]["url"].as_str().unwrap();
                let is_own = url.starts_with("data:") || url.ends_with("/index.html");
                assert!(is_own, "{what}: {url}");
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

const ROWS: &str = "const rows = [...document.querySelectorAll('#configs tbody tr')].filter(row => !row.hidden);";
const ENTER: &str = "\u{E007}";
const ESCAPE: &str = "\u{E00C}";
const DOWN: &str = "\u{E015}";
const TAB: &str = "\u{E004}";

#[test]
fn the_page_sorts_filters_shows_and_pins() {
    let Some(browser) = Browser::start() else { return };
    browser.open(&synthetic::default_sweep());
    let first = |column: usize| browser.run(&format!("{ROWS} return rows[0].cells[{column}].textContent"));
    let shown = || browser.run(&format!("{ROWS} return rows.length"));
    let names = || browser.run("return document.querySelectorAll('#chart .front .name').length");
    assert_eq!(shown(), 16);
    browser.click("#configs th:nth-child(2) button");
    assert_eq!(first(1), "1e-5");
    browser.click("#configs th:nth-child(2) button");
    assert_eq!(first(1), "3e-4");
    browser.write("#filter", "3e-5 cosine");
    assert_eq!(shown(), 2);
    let curves = browser.run("return document.querySelectorAll('#chart .all path:not(.off)').length");
    assert!(curves.as_u64().is_some_and(|curves| (2..16).contains(&curves)), "{curves}");
    // A row by mouse, and by keys.
    browser.point("#configs tbody tr:not([hidden])", (0, 0));
    assert_eq!(names(), 1, "a row that is pointed at brings its curve forward");
    browser.point("h2", (0, 0));
    assert_eq!(names(), 0);
    browser.click("#configs tbody tr:not([hidden])");
    browser.point("h2", (0, 0));
    assert_eq!(names(), 1, "and is pinned by a click");
    browser.run("document.querySelector('#configs tbody tr:not([hidden])').focus()");
    browser.press(DOWN);
    browser.press(ENTER);
    browser.run("document.activeElement.blur()");
    assert_eq!(names(), 2);
    browser.press(ESCAPE);
    assert_eq!(names(), 0);
    // A curve by mouse.
    browser.run("filter.value = ''; filter.dispatchEvent(new Event('input'))");
    browser.point("#chart", (0, 100));
    assert_eq!(names(), 1);
    browser.click("#chart");
    browser.point("h2", (0, 0));
    assert_eq!(names(), 1);
    browser.click("#trials details summary");
    let panels = "return [...document.querySelectorAll('#trials details[open]')].map(d => [d.querySelectorAll('svg').length, d.querySelectorAll('dt').length > 20])";
    browser.becomes(panels, &json!([[3, true]]));
    // As it was, when it reloads itself.
    browser.post("/refresh", &json!({}));
    assert_eq!((names(), first(1)), (1.into(), "3e-4".into()));
    browser.becomes(panels, &json!([[3, true]]));
    browser.check_no_errors("the default sweep");
}

#[test]
fn the_page_is_reached_by_keys_prints_and_has_two_grounds() {
    let Some(browser) = Browser::start() else { return };
    browser.open(&synthetic::default_sweep());
    browser.press(TAB);
    assert_eq!(browser.run("return document.activeElement.tagName"), "A");
    let reached = "const all = [...document.querySelectorAll('#configs th button, #configs tbody tr, .wide, summary, a, input, select')];
        return [all.length > 30, all.every(node => node.tabIndex >= 0)]";
    assert_eq!(browser.run(reached), json!([true, true]));
    let links = "const all = [...document.querySelectorAll(`a[href^='#']`)]; return [all.length > 8, all.every(a => document.getElementById(a.hash.slice(1)))]";
    assert_eq!(browser.run(links)[0], true);
    assert!(browser.run(links)[1] != Value::Bool(false));
    let cdp = |name: &str, with: Value| browser.post("/goog/cdp/execute", &json!({"cmd": name, "params": with}));
    let ground = || browser.run("return getComputedStyle(document.body).backgroundColor");
    let light = ground();
    cdp("Emulation.setEmulatedMedia", json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]}));
    assert!(light == "rgb(255, 255, 255)" && ground() == "rgb(21, 23, 28)", "{light} {}", ground());
    cdp("Emulation.setEmulatedMedia", json!({"media": "print", "features": []}));
    let hidden = "return ['nav', '.tools', '.see'].map(css => getComputedStyle(document.querySelector(css)).display)";
    assert_eq!(browser.run(hidden), json!(["none", "none", "none"]));
    cdp("Emulation.setEmulatedMedia", json!({"media": "screen"}));
    // On a telephone the page fits, and pictures that would be too small are scrolled.
    cdp(
        "Emulation.setDeviceMetricsOverride",
        json!({"width": 420, "height": 800, "deviceScaleFactor": 1, "mobile": true}),
    );
    let fits = "return [document.documentElement.scrollWidth <= 420, document.querySelector('figure svg').getBoundingClientRect().width >= 760]";
    assert_eq!(browser.run(fits), json!([true, true]));
    browser.check_no_errors("keys, print and dark");
}

#[test]
fn the_page_of_every_sweep_runs_without_an_error() {
    let Some(browser) = Browser::start() else { return };
    let of = ["failed", "under_way", "one", "hostile", "nothing"];
    for (name, sweep) in sweeps().into_iter().filter(|sweep| of.contains(&sweep.0)) {
        browser.open(&sweep);
        browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; d.dispatchEvent(new Event('toggle')) })");
        browser.check_no_errors(name);
    }
}

/// 2,000 trials: seconds until the page is there, and of what is done on it, each until it is painted. The bounds are for a busy
/// machine.
#[test]
fn the_page_of_two_thousand_trials_is_usable() {
    const TIMED: &str = "const done = arguments[arguments.length - 1], start = performance.now();
        act(); requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)))";
    let Some(browser) = Browser::start() else { return };
    let numbers = |n: u32| (1..=n).map(|i| i.to_string()).collect::<Vec<_>>();
    let axis = |key: &str, n: u32| axis(key, &numbers(n).iter().map(String::as_str).collect::<Vec<_>>());
    let sweep = synthetic::sweep("many", &[axis("lr", 20), axis("batch_size", 20), axis("seed", 5)], 60);
    assert_eq!(sweep.runs.len(), 2000);
    browser.open(&sweep);
    let loaded = browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd").as_f64().unwrap();
    let timed = |act: &str| {
        let script = format!("const act = () => {{ {act} }}; {TIMED}");
        browser.post("/execute/async", &json!({"script": script, "args": []})).as_f64().unwrap()
    };
    let times = [
        ("sort", timed("document.querySelectorAll('#configs th button')[3].click()")),
        ("filter", timed("filter.value = '12'; filter.dispatchEvent(new Event('input'))")),
        ("all", timed("filter.value = ''; filter.dispatchEvent(new Event('input'))")),
        (
            "point",
            timed("document.querySelectorAll('#configs tbody tr')[7].dispatchEvent(new MouseEvent('mouseenter'))"),
        ),
        (
            "hover",
            timed(
                "const c = document.getElementById('chart'), b = c.getBoundingClientRect(); c.dispatchEvent(new MouseEvent('mousemove', { clientX: b.x + b.width / 2, clientY: b.y + b.height * .7 }))",
            ),
        ),
        ("pin", timed("document.querySelectorAll('#configs tbody tr')[3].click()")),
        ("unfold", timed("const d = document.querySelector('#trials details'); d.open = true")),
    ];
    eprintln!("page: {loaded:.0} ms; {times:?} ms");
    assert!(loaded < 20_000.0 && times.iter().all(|(_, time)| *time < 3000.0), "{loaded} {times:?}");
    browser.check_no_errors("2,000 trials");
}
