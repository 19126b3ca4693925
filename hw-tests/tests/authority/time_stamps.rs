//! A time-stamp authority on loopback (RFC 3161, section 3.4): every request is answered by openssl.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use crate::bench::{succeed, tool};

/// It answers as long as the test runs.
pub(crate) struct TimeStamps {
    port: u16,
}

impl TimeStamps {
    /// Starts it for the authority in `folder`, which need not be there yet.
    pub(crate) fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = folder.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&folder, stream);
            }
        });
        Self { port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

fn answer(folder: &PathBuf, stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut len, mut line) = (0, String::new());
    while reader.read_line(&mut line).unwrap_or(0) > 2 {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            len = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut query = vec![0; len];
    reader.read_exact(&mut query).unwrap();
    fs::write(folder.join("query"), query).unwrap();
    let mut reply = tool("openssl");
    reply.current_dir(folder).args(["ts", "-reply", "-config", "time.cnf"]);
    succeed(reply.args(["-queryfile", "query", "-out", "reply"]));
    let reply = fs::read(folder.join("reply")).unwrap();
    let mut stream = reader.into_inner();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        reply.len()
    );
    stream.write_all(&[head.as_bytes(), &reply].concat()).unwrap();
}
