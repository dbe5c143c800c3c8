//! A server that takes requests and answers each of them in a wrong way, slowly, or not at all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

pub struct BadServer {
    pub url: String,
    requests: Arc<AtomicUsize>,
}

impl BadServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let serve = move || {
            for client in listener.incoming().flatten() {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                // A client without an answer is one more fault.
                let _ = thread::Builder::new().spawn(move || Self::answer(client, number));
            }
        };
        thread::Builder::new().spawn(serve).unwrap();
        Self { url, requests }
    }

    fn answer(mut client: TcpStream, number: usize) {
        // The client may have gone away.
        let _ = client.read(&mut [0; 4096]);
        let answer: &[u8] = match number % 7 {
            0 => b"",
            1 => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
            2 => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            3 => b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{",
            4 => b"\x00\xff\x1b[2J\r\n\r\n",
            5 => return Self::drip(&mut client),
            _ => {
                sleep(Duration::from_secs(20));
                b""
            }
        };
        let _ = client.write_all(answer);
    }

    /// Sends an endless answer byte by byte.
    fn drip(client: &mut TcpStream) {
        let start = client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
        let mut going = start.is_ok();
        while going {
            sleep(Duration::from_millis(100));
            going = client.write_all(b" ").is_ok();
        }
    }

    /// Number of requests since the last call.
    pub fn take(&self) -> usize {
        self.requests.swap(0, Ordering::Relaxed)
    }
}
