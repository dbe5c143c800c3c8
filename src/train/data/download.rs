//! Downloads single files of the Hugging Face hub into its usual cache, which other programs share: `models--org--name` with
//! the folders `blobs`, `refs` and `snapshots`.
//!
//! * Every request has a deadline, from connecting to its last byte, and every loop has a limit.
//! * A file comes in parts. What has arrived stays when a request or this process ends, and the next download continues there.
//! * A file appears in `snapshots` when it is complete.
//! * A name from the server becomes the name of a file only if it is plain.

#![expect(clippy::disallowed_methods, reason = "the cache belongs to the hub's libraries, not to the store")]

use std::cell::Cell;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, Uri};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

/// Bytes of one request.
const PART: u64 = 16 << 20;
/// Largest file that is downloaded, in bytes.
const LARGEST: u64 = 64 << 30;
/// Redirects of one request.
const MAX_REDIRECTS: usize = 5;
/// Requests in a row that bring nothing, or next to nothing, before a download is given up.
const MAX_FAILURES: u32 = 3;
/// A request that is slower brings next to nothing.
const LEAST_BYTES_PER_SECOND: u64 = 1_000;
/// Time for a whole file: this, and a second for every so many bytes.
const FILE_TIME: Duration = Duration::from_mins(5);
const BYTES_PER_SECOND: u64 = 20_000;

/// Deadlines of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub connect: Duration,
    /// From the request to the beginning of the answer.
    pub answer: Duration,
    /// From connecting to the last byte. A part that is cut off here is kept.
    pub whole: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(30), whole: Duration::from_mins(2) }
    }
}

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum HubError {
    #[error("the hub has no such file")]
    Absent,
    #[error("{0}")]
    Request(#[source] Box<ureq::Error>),
    #[error("the hub has not answered before")]
    Unreachable,
    #[error("the hub refuses it (status {0}); a private repository needs a token in HF_TOKEN")]
    Refused(u16),
    #[error("the hub's answer cannot be used: {0}")]
    Malformed(&'static str),
    #[error("the hub is too slow; the same command continues the download")]
    TooSlow,
    #[error("another process downloads it now; run the same command again when that has ended")]
    Busy,
    #[error("{}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
}

impl HubError {
    fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { path, source }
    }
}

impl From<ureq::Error> for HubError {
    fn from(error: ureq::Error) -> Self {
        Self::Request(Box::new(error))
    }
}

/// A server of the hub, and the cache on this machine.
#[derive(Debug)]
pub(super) struct Hub {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    cache: PathBuf,
    /// Whether a request has failed without an answer. Then no more requests are made.
    is_unreachable: Cell<bool>,
}

impl Hub {
    /// The hub as the environment names it: `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`.
    pub(super) fn from_env() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let cache = || PathBuf::from(text("HOME").unwrap_or_default()).join(".cache/huggingface");
        let home = text("HF_HOME").map_or_else(cache, PathBuf::from);
        let stored = || fs::read_to_string(home.join("token")).ok().map(|token| token.trim().to_owned());
        let token = text("HF_TOKEN").or_else(stored).filter(|token| !token.is_empty());
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Self { token, ..Self::new(&endpoint, home.join("hub"), Deadlines::default()) }
    }

    pub(super) fn new(endpoint: &str, cache: PathBuf, deadlines: Deadlines) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed below: the token must not reach another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(deadlines.connect))
            .timeout_recv_response(Some(deadlines.answer))
            .timeout_global(Some(deadlines.whole))
            .build();
        Self {
            agent: Agent::new_with_config(agent),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: None,
            cache,
            is_unreachable: Cell::new(false),
        }
    }

    /// The repository `name` at `revision`. Both are plain names with slashes between them.
    pub(super) fn repository(&self, name: &str, revision: &str) -> Repository<'_> {
        let folder = self.cache.join(format!("models--{}", name.replace('/', "--")));
        Repository { hub: self, name: name.to_owned(), revision: revision.to_owned(), folder }
    }

    /// Sends a request, and follows redirects while `follows` agrees. The token goes to the endpoint only.
    fn send(
        &self,
        url: &str,
        make: impl Fn(&Agent, &str) -> RequestBuilder<WithoutBody>,
        follows: impl Fn(&Response<Body>) -> bool,
    ) -> Result<Response<Body>, HubError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = make(&self.agent, &url).header("accept-encoding", "identity");
            if let Some(token) = self.token.as_ref().filter(|_| is_below(&url, &self.endpoint)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request.call().inspect_err(|_| self.is_unreachable.set(true))?;
            if !response.status().is_redirection() || !follows(&response) {
                return Ok(response);
            }
            let target = header(response.headers(), "location").ok_or(HubError::Malformed("a redirect to nowhere"))?;
            url = absolute(&url, target).ok_or(HubError::Malformed("a redirect to a wrong address"))?;
        }
        Err(HubError::Malformed("too many redirects"))
    }
}

/// A repository on the hub, at one revision.
#[derive(Debug)]
pub(super) struct Repository<'a> {
    hub: &'a Hub,
    name: String,
    revision: String,
    /// The folder of the repository in the cache.
    folder: PathBuf,
}

/// What the hub says of a file.
#[derive(Debug)]
struct Description {
    commit: String,
    /// Names the content.
    etag: String,
    size: u64,
}

impl Repository<'_> {
    /// The path of a file in the cache. Downloads it if it is not there.
    pub(super) fn get(&self, file: &str) -> Result<PathBuf, HubError> {
        if let Some(cached) = self.cached(file) {
            return Ok(cached);
        }
        if self.hub.is_unreachable.get() {
            return Err(HubError::Unreachable);
        }
        let url = format!("{}/{}/resolve/{}/{file}", self.hub.endpoint, self.name, self.revision.replace('/', "%2F"));
        let about = self.describe(&url)?;
        let blob = self.folder.join("blobs").join(&about.etag);
        if !blob.exists() {
            self.download(&url, &about, &blob)?;
        }
        self.publish(file, &about)
    }

    fn cached(&self, file: &str) -> Option<PathBuf> {
        let reference = fs::read_to_string(self.folder.join("refs").join(&self.revision)).ok();
        let commit = reference.map_or_else(|| self.revision.clone(), |commit| commit.trim().to_owned());
        let path = self.folder.join("snapshots").join(Some(commit).filter(|commit| is_plain(commit))?).join(file);
        path.exists().then_some(path)
    }

    fn describe(&self, url: &str) -> Result<Description, HubError> {
        // A large file lies on another server. The first answer describes it, and is not followed.
        let is_moved = |response: &Response<Body>| header(response.headers(), "x-linked-etag").is_none();
        let response = self.hub.send(url, |agent, url| agent.head(url), is_moved)?;
        check_status(&response)?;
        let headers = response.headers();
        let either = |one: &str, other: &str| header(headers, one).or_else(|| header(headers, other));
        let plain = |text: Option<&str>, what| {
            let text = text.map(|text| text.trim_start_matches("W/").trim_matches('"'));
            text.filter(|text| is_plain(text)).map(str::to_owned).ok_or(HubError::Malformed(what))
        };
        let size = either("x-linked-size", "content-length").and_then(|size| size.parse().ok());
        Ok(Description {
            commit: plain(header(headers, "x-repo-commit"), "no commit")?,
            etag: plain(either("x-linked-etag", "etag"), "no name of its content")?,
            size: size.filter(|size| *size <= LARGEST).ok_or(HubError::Malformed("no size, or a huge one"))?,
        })
    }

    /// Downloads a file part by part, from what an earlier download has left.
    fn download(&self, url: &str, about: &Description, blob: &Path) -> Result<(), HubError> {
        let part = blob.with_file_name(format!("{}.part", about.etag));
        let disk = || HubError::disk(&part);
        fs::create_dir_all(self.folder.join("blobs")).map_err(disk())?;
        let mut file = OpenOptions::new().create(true).append(true).open(&part).map_err(disk())?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(HubError::Busy),
            // A file system without locks: two processes that download one file at the same time are rare.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let deadline = Instant::now() + FILE_TIME + Duration::from_secs(about.size / BYTES_PER_SECOND);
        let mut failures = 0;
        loop {
            let have = file.metadata().map_err(disk())?.len();
            if have == about.size {
                break;
            }
            if have > about.size {
                let _ = fs::remove_file(&part);
                return Err(HubError::Malformed("more bytes than the file has"));
            }
            if Instant::now() >= deadline {
                return Err(HubError::TooSlow);
            }
            let start = Instant::now();
            match self.download_part(url, have, about.size, &mut file, &part) {
                // A server that sends byte by byte would keep this command busy for days.
                Ok(bytes) if bytes == 0 || bytes < start.elapsed().as_secs() * LEAST_BYTES_PER_SECOND => failures += 1,
                Ok(_) => failures = 0,
                Err(error @ (HubError::Disk { .. } | HubError::Malformed(_))) => return Err(error),
                Err(error) if failures + 1 >= MAX_FAILURES => return Err(error),
                Err(_) => failures += 1,
            }
            if failures >= MAX_FAILURES {
                return Err(HubError::TooSlow);
            }
            if failures > 0 {
                thread::sleep(Duration::from_millis(200));
            }
        }
        file.sync_all().and_then(|()| fs::rename(&part, blob)).map_err(disk())
    }

    /// Appends the next part to `file`. Returns how many bytes have arrived, also if the request failed after them.
    fn download_part(&self, url: &str, have: u64, size: u64, file: &mut File, path: &Path) -> Result<u64, HubError> {
        let last = size.min(have + PART) - 1;
        let range = format!("bytes={have}-{last}");
        let response = self.hub.send(url, |agent, url| agent.get(url).header("range", &range), |_| true)?;
        check_status(&response)?;
        // A server without ranges sends the whole file.
        let wanted = match response.status().as_u16() {
            206 => last + 1 - have,
            _ if have == 0 => size,
            _ => return Err(HubError::Malformed("it does not continue a download")),
        };
        let mut body = response.into_body().into_reader().take(wanted);
        let mut buffer = vec![0; 64 << 10];
        let mut arrived = 0;
        loop {
            match body.read(&mut buffer) {
                Ok(0) | Err(_) => return Ok(arrived),
                Ok(count) => {
                    file.write_all(&buffer[..count]).map_err(HubError::disk(path))?;
                    arrived += count as u64;
                }
            }
        }
    }

    /// Gives a complete file its place among the files of the commit.
    fn publish(&self, file: &str, about: &Description) -> Result<PathBuf, HubError> {
        let snapshot = self.folder.join("snapshots").join(&about.commit);
        let path = snapshot.join(file);
        fs::create_dir_all(&snapshot).map_err(HubError::disk(&snapshot))?;
        match symlink(Path::new("../../blobs").join(&about.etag), &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(HubError::disk(&path))?,
        }
        let reference = self.folder.join("refs").join(&self.revision);
        // Other programs read the reference too, so it is replaced as a whole.
        let temporary = self.folder.join(format!("ref-{}", std::process::id()));
        let folder = reference.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| File::create(&temporary)?.write_all(about.commit.as_bytes()))
            .and_then(|()| fs::rename(&temporary, &reference))
            .map_err(HubError::disk(&reference))?;
        Ok(path)
    }
}

fn check_status(response: &Response<Body>) -> Result<(), HubError> {
    match response.status().as_u16() {
        404 => Err(HubError::Absent),
        status if status >= 400 => Err(HubError::Refused(status)),
        _ => Ok(()),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a text can be the name of a file, and nothing but a name.
fn is_plain(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(fits)
}

/// Whether `url` lies on the server of `endpoint`.
fn is_below(url: &str, endpoint: &str) -> bool {
    url.strip_prefix(endpoint).is_some_and(|rest| rest.starts_with('/'))
}

/// The target of a redirect from `url`: a path on the same server, or a web address.
fn absolute(url: &str, target: &str) -> Option<String> {
    if target.starts_with("https://") || target.starts_with("http://") {
        return Some(target.to_owned());
    }
    let from: Uri = url.parse().ok()?;
    let path = target.strip_prefix('/').filter(|path| !path.starts_with('/'))?;
    Some(format!("{}://{}/{path}", from.scheme_str()?, from.authority()?))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A server that answers each request with what `answer` makes of its first line and its range, and then closes the
    /// connection. Returns its address and the requests so far.
    fn serve(
        answer: impl Fn(&str, Option<(usize, usize)>) -> Vec<u8> + Send + 'static,
    ) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream: TcpStream = stream.unwrap();
                let lines: Vec<String> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let Some(first) = lines.first() else { continue };
                let range = lines.iter().find_map(|line| {
                    let line = line.to_lowercase();
                    let (from, to) = line.strip_prefix("range: bytes=")?.split_once('-')?;
                    Some((from.parse().ok()?, to.parse().ok()?))
                });
                seen.lock().unwrap().push(format!("{first} {range:?}"));
                let _ = stream.write_all(&answer(first, range));
            }
        });
        (address, requests)
    }

    fn hub(address: &str, cache: &Path) -> Hub {
        let deadlines = Deadlines {
            connect: Duration::from_secs(5),
            answer: Duration::from_millis(500),
            whole: Duration::from_secs(1),
        };
        Hub::new(address, cache.to_owned(), deadlines)
    }

    const COMMIT: &str = "x-repo-commit: c0ffee\r\n";

    fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let mut answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n").into_bytes();
        answer.extend_from_slice(body);
        answer
    }

    #[test]
    fn a_download_continues_where_it_was_cut_off() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let served = content.clone();
        let (address, requests) = serve(move |line, range| match (line, range) {
            (line, _) if line.starts_with("HEAD") => {
                let size = served.len();
                let headers =
                    format!("{COMMIT}x-linked-etag: \"abc\"\r\nx-linked-size: {size}\r\nlocation: /large\r\n");
                answer("302 Found", &headers, b"")
            }
            (line, _) if line.contains("/resolve/") => {
                answer("302 Found", "location: /large\r\ncontent-length: 0\r\n", b"")
            }
            (_, Some((from, to))) => {
                // The connection breaks after 150,000 bytes.
                let part = &served[from..=to];
                let headers = format!("content-length: {}\r\n", part.len());
                answer("206 Partial Content", &headers, &part[..part.len().min(150_000)])
            }
            _ => answer("400 Bad Request", "", b""),
        });
        let cache = tempfile::tempdir().unwrap();
        let hub = hub(&address, cache.path());
        let repository = hub.repository("org/name", "main");
        let path = repository.get("model.safetensors").unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(path, cache.path().join("models--org--name/snapshots/c0ffee/model.safetensors"));
        let ranges: Vec<String> =
            requests.lock().unwrap().iter().filter(|line| line.contains("/large")).cloned().collect();
        let firsts = ["(0, 399999)", "(150000, 399999)", "(300000, 399999)"];
        assert!(ranges.iter().zip(firsts).all(|(line, from)| line.contains(from)) && ranges.len() == 3, "{ranges:?}");
        let before = requests.lock().unwrap().len();
        assert_eq!(repository.get("model.safetensors").unwrap(), path, "from the cache");
        assert_eq!(requests.lock().unwrap().len(), before);
    }

    /// What a server sends for a path and a range of bytes.
    type Answer = fn(&str, Option<(usize, usize)>) -> Vec<u8>;

    /// The message of a download from such a server.
    fn error(answer: impl Fn(&str, Option<(usize, usize)>) -> Vec<u8> + Send + 'static) -> String {
        let cache = tempfile::tempdir().unwrap();
        let hub = hub(&serve(answer).0, cache.path());
        let start = Instant::now();
        let error = hub.repository("org/name", "main").get("config.json").unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(20), "{error}");
        error.to_string()
    }

    #[test]
    fn a_server_that_misbehaves_is_an_error_soon() {
        let check = |answer: Answer, expected: &str| {
            let message = error(answer);
            assert!(message.contains(expected), "{message}");
        };
        check(|_, _| answer("404 Not Found", "", b""), "no such file");
        check(|_, _| answer("401 Unauthorized", "", b""), "HF_TOKEN");
        check(|_, _| answer("302 Found", "location: /again\r\n", b""), "too many redirects");
        check(|_, _| answer("302 Found", "location: file:///etc/passwd\r\n", b""), "a wrong address");
        check(|_, _| answer("200 OK", "etag: \"a\"\r\ncontent-length: 1\r\n", b""), "no commit");
        let named = "x-repo-commit: c0ffee\r\netag: \"../../../x\"\r\ncontent-length: 1\r\n";
        assert!(error(move |_, _| answer("200 OK", named, b"")).contains("no name of its content"));
        let huge = format!("{COMMIT}etag: \"a\"\r\ncontent-length: 99999999999999\r\n");
        assert!(error(move |_, _| answer("200 OK", &huge, b"")).contains("huge"));
        check(
            |_, _| {
                thread::sleep(Duration::from_secs(2));
                Vec::new()
            },
            "timeout",
        );
    }

    #[test]
    fn a_server_that_sends_nothing_of_a_file_is_given_up() {
        let message = error(|_, _| {
            let headers = format!("{COMMIT}etag: \"a\"\r\ncontent-length: 10\r\n");
            answer("200 OK", &headers, b"")
        });
        assert!(message.contains("too slow"), "{message}");
    }

    #[test]
    fn a_server_that_sends_byte_by_byte_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream: TcpStream = stream.unwrap();
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let is_head =
                    lines.take_while(|line| !line.is_empty()).next().is_some_and(|line| line.starts_with("HEAD"));
                let (status, headers) = if is_head {
                    ("200 OK", format!("{COMMIT}etag: \"a\"\r\ncontent-length: 60000000\r\n"))
                } else {
                    ("206 Partial Content", "content-length: 16777216\r\n".to_owned())
                };
                let mut going = stream.write_all(&answer(status, &headers, b"")).is_ok() && !is_head;
                while going {
                    thread::sleep(Duration::from_millis(20));
                    going = stream.write_all(b"x").is_ok();
                }
            }
        });
        let cache = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let error = hub(&address, cache.path()).repository("org/name", "main").get("config.json").unwrap_err();
        assert!(error.to_string().contains("too slow") && start.elapsed() < Duration::from_secs(20), "{error}");
        let part = cache.path().join("models--org--name/blobs/a.part");
        assert!(part.metadata().unwrap().len() > 1, "what has arrived is kept");
    }

    #[test]
    fn redirects_stay_on_the_web() {
        let check = |target: &str, expected: Option<&str>| {
            assert_eq!(absolute("https://hub.co/a/b?c", target).as_deref(), expected, "{target}");
        };
        check("/x?y", Some("https://hub.co/x?y"));
        check("https://cdn.co/x", Some("https://cdn.co/x"));
        check("//evil.co/x", None);
        check("file:///etc/passwd", None);
        assert!(is_below("https://hub.co/x", "https://hub.co") && !is_below("https://hub.com/x", "https://hub.co"));
    }
}
