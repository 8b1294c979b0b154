//! Who has taken the vehicles' port for something else.

use super::{
    arena::{connect, flood, withstand},
    scaled,
};

/// The begin of a TLS 1.3 client hello for `waymesh.example`, with a key share of zeros.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x03, 0x03];
    hello.extend([7; 32]);
    hello.extend([32]);
    hello.extend([9; 32]);
    hello.extend([0, 6, 0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 1, 0]);
    let name = b"waymesh.example";
    let mut extensions = vec![0, 0, 0, 20, 0, 18, 0, 0, 15];
    extensions.extend(name);
    extensions.extend([0, 0x2b, 0, 3, 2, 3, 4, 0, 0x0a, 0, 4, 0, 2, 0, 0x1d]);
    extensions.extend([0, 0x33, 0, 38, 0, 36, 0, 0x1d, 0, 32]);
    extensions.extend([0; 32]);
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let length = (hello.len() as u32).to_be_bytes();
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend((hello.len() as u16 + 4).to_be_bytes());
    record.push(1);
    record.extend(&length[1..]);
    record.extend(hello);
    record
}

#[test]
pub(super) fn other_protocols_get_no_answer_and_are_counted() {
    let n_tries = scaled(2_000) as u64;
    let http = "GET / HTTP/1.1\r\nHost: waymesh.example:5000\r\nUser-Agent: x\r\n\r\n";
    let proxied = "CONNECT waymesh.example:443 HTTP/1.1\r\n\r\n";
    let h2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let hello = client_hello();
    let strangers: [(&[u8], u64, u64); 7] = [
        // Its list of groups has the number of a line feed.
        (&hello, 1, 1),
        (http.as_bytes(), 3, 0),
        (proxied.as_bytes(), 1, 0),
        (h2.as_bytes(), 2, 1),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 1, 0),
        (b"EHLO mail.example\r\n", 1, 0),
        (b"\x80\0\0\x28\x72\xfe\x1d\x13\0\0\0\0\0\0\0\x02", 0, 1),
    ];
    let aftermath = withstand("strangers on the port", "", |node| {
        for _ in 0..n_tries {
            for (said, _, _) in strangers {
                let socket = connect(node.vehicles);
                let n_bytes = flood(&socket, std::iter::once(said.to_vec()));
                assert_eq!(n_bytes, 0, "{:?}", String::from_utf8_lossy(said));
            }
        }
    });
    let (n_lines, n_cuts) = strangers
        .iter()
        .fold((0, 0), |(lines, cuts), (_, n_lines, n_cuts)| {
            (lines + n_lines, cuts + n_cuts)
        });
    assert_eq!(aftermath.rejected("unknown_protocol"), n_lines * n_tries);
    assert_eq!(aftermath.rejected("cut"), n_cuts * n_tries);
    assert_eq!(aftermath.count("waymesh_positions_accepted_total"), {
        aftermath.count("waymesh_positions_stored_total")
    });
}

#[test]
pub(super) fn a_stranger_that_waits_for_an_answer_is_closed_in_time() {
    let aftermath = withstand(
        "strangers that wait",
        "first_line_timeout = \"1s\"",
        |node| {
            let sockets: Vec<_> = (0..50)
                .map(|_| {
                    let socket = connect(node.vehicles);
                    let hello = client_hello();
                    std::io::Write::write_all(&mut &socket, &hello).unwrap();
                    socket
                })
                .collect();
            for socket in sockets {
                let n_read = std::io::Read::read(&mut &socket, &mut [0]);
                assert!(!n_read.is_ok_and(|n_bytes| n_bytes > 0), "no answer");
            }
        },
    );
    assert_eq!(aftermath.closed("first_line"), 50);
}
