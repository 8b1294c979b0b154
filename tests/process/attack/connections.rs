//! Connections that are open and do little: silent, slow, deaf.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use super::{
    arena::{Talk, connect, short, wait_until, withstand},
    scaled,
};

#[test]
pub(super) fn silent_connections_are_closed_in_time() {
    const N_CONNECTIONS: u64 = 1_000;
    let aftermath = withstand(
        "silent connections",
        "first_line_timeout = \"1s\"",
        |node| {
            let sockets: Vec<_> = (0..N_CONNECTIONS).map(|_| connect(node.vehicles)).collect();
            for mut socket in sockets {
                assert_eq!(socket.read(&mut [0]).unwrap(), 0, "closed in order");
            }
        },
    );
    assert_eq!(aftermath.closed("first_line"), N_CONNECTIONS);
}

#[test]
pub(super) fn lines_that_come_byte_by_byte_are_lines() {
    const N_CONNECTIONS: usize = 200;
    let n_lines = scaled(20);
    let aftermath = withstand("a byte at a time", "", |node| {
        let mut sockets: Vec<_> = (0..N_CONNECTIONS).map(|_| connect(node.vehicles)).collect();
        let dribble = |sockets: &mut Vec<TcpStream>, line: &dyn Fn(usize) -> Vec<u8>| {
            let lines: Vec<_> = (0..N_CONNECTIONS).map(line).collect();
            for idx in 0..lines[0].len() {
                for (socket, line) in sockets.iter_mut().zip(&lines) {
                    socket.write_all(&line[idx..=idx]).unwrap();
                }
            }
        };
        dribble(&mut sockets, &|number| {
            format!("#L#slow {number:03};NA\r\n").into_bytes()
        });
        for number in 0..n_lines {
            dribble(&mut sockets, &|_| short(number as u32));
        }
        dribble(&mut sockets, &|_| b"#SD#0111".to_vec());
        for mut socket in sockets {
            socket.shutdown(Shutdown::Write).unwrap();
            let mut answers = String::new();
            socket.read_to_string(&mut answers).unwrap();
            assert_eq!(
                answers,
                format!("#AL#1\r\n{}", "#ASD#1\r\n".repeat(n_lines))
            );
        }
    });
    assert_eq!(aftermath.rejected("cut"), N_CONNECTIONS as u64);
    assert_eq!(aftermath.rejected("malformed"), 0);
}

#[test]
pub(super) fn who_never_reads_its_answers_is_not_read_any_more() {
    let n_connections = scaled(400);
    let aftermath = withstand("answers that nobody reads", "", |node| {
        let deaf: Vec<_> = (0..n_connections)
            .map(|number| {
                let talk = Talk::login(node.vehicles, &format!("deaf {number}"));
                let socket = talk.0.into_inner();
                socket
                    .set_write_timeout(Some(Duration::from_millis(100)))
                    .unwrap();
                socket
            })
            .collect();
        let pings = b"#P#\r\n".repeat(10_000);
        std::thread::scope(|scope| {
            for sockets in deaf.chunks(n_connections.div_ceil(20)) {
                scope.spawn(|| sockets.iter().for_each(|socket| fill(socket, &pings)));
            }
        });
    });
    // Closed by the node, for their own slowness or while others needed the room, or by their end.
    let ends = ["too_slow", "reset", "peer"].map(|reason| aftermath.closed(reason));
    assert_eq!(ends.iter().sum::<u64>(), n_connections as u64 + 1);
}

/// Writes until the socket takes nothing for a while, which it must come to.
fn fill(mut socket: &TcpStream, bytes: &[u8]) {
    const BYTES_MAX: usize = 64 * 1024 * 1024;
    let mut n_bytes = 0;
    while n_bytes < BYTES_MAX {
        match socket.write(bytes) {
            Ok(n_written) => n_bytes += n_written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // It takes no more, or has closed already: others needed the room.
            Err(_) => return,
        }
    }
    panic!("{n_bytes} bytes were taken from one that reads no answer");
}

#[test]
pub(super) fn unfinished_lines_of_many_connections_share_one_room() {
    let n_connections = scaled(8_000);
    withstand("unfinished lines", "", |node| {
        let mut half = b"#D#".to_vec();
        half.resize(60 * 1024, b'x');
        let open: Vec<_> = (0..n_connections)
            .map(|_| {
                let socket = connect(node.vehicles);
                socket.set_nonblocking(true).unwrap();
                // What the node does not read stays in the sockets.
                let _ = (&socket).write(&half).unwrap();
                socket
            })
            .collect();
        // Apart from the good vehicle's lines nothing more comes.
        let mut read_bytes = 0;
        wait_until("the node has read what it will", || {
            std::thread::park_timeout(Duration::from_millis(300));
            let before = read_bytes;
            read_bytes = node.metrics()["waymesh_received_bytes_total"];
            read_bytes - before < 1_000
        });
        drop(open);
    });
}
