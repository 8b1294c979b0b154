//! What it costs to find the lines in a chunk, beside tokio-util's `LinesCodec` and `memchr` alone.
//!
//! ```text
//! cargo bench -p load-test --bench framing
//! ```
//!
//! One iteration is a chunk of as many lines of Wialon IPS as the argument says, with its end; the
//! codec is given a buffer of its own for each chunk, outside the measure.
//!
//! Fastest of 100 samples on two shared cores, a chunk of 256 lines: ours 5.5 µs without allocation,
//! the codec 11.4 µs and an allocation a line, `memchr` alone 0.39 µs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "benches"
)]
#![allow(dead_code, reason = "the lines serve other benches too")]

mod lines;

use bytes::BytesMut;
use divan::{AllocProfiler, Bencher, black_box, counter::BytesCount};
use tokio_util::codec::{Decoder as _, LinesCodec};
use waymesh::protocol::framing::{Framed, FramerState, Framing};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const LINE_BYTES_MAX: usize = 64 * 1024;

fn main() {
    divan::main();
}

fn chunk(n_lines: usize) -> Vec<u8> {
    let line = |minute, second| lines::wialon("SD", &lines::short_fields(minute, second), false);
    let lines = lines::hour(line);
    let lines = lines.iter().cycle().take(n_lines);
    lines
        .flat_map(|line| [line, &b"\r\n"[..]].concat())
        .collect()
}

#[divan::bench(args = [1, 16, 256], sample_size = 200)]
fn waymesh(bencher: Bencher<'_, '_>, n_lines: usize) {
    let chunk = chunk(n_lines);
    bencher
        .counter(BytesCount::new(chunk.len()))
        .bench_local(|| {
            let (framing, mut state) = (Framing::Terminated(b"\n"), FramerState::default());
            let mut rest = black_box(&chunk[..]);
            let mut n_found = 0;
            while let Framed::Line { line, consumed } =
                framing.next(&mut state, rest, LINE_BYTES_MAX)
            {
                black_box(&rest[line]);
                rest = &rest[consumed..];
                n_found += 1;
            }
            assert_eq!(n_found, n_lines);
        });
}

#[divan::bench(args = [1, 16, 256], sample_size = 200)]
fn lines_codec(bencher: Bencher<'_, '_>, n_lines: usize) {
    let chunk = chunk(n_lines);
    bencher
        .counter(BytesCount::new(chunk.len()))
        .with_inputs(|| BytesMut::from(&chunk[..]))
        .bench_local_values(|mut buffer| {
            let mut codec = LinesCodec::new_with_max_length(LINE_BYTES_MAX);
            let mut n_found = 0;
            while let Some(line) = codec.decode(&mut buffer).unwrap() {
                black_box(line);
                n_found += 1;
            }
            assert_eq!(n_found, n_lines);
            buffer
        });
}

#[divan::bench(args = [1, 16, 256], sample_size = 200)]
fn memchr_alone(bencher: Bencher<'_, '_>, n_lines: usize) {
    let chunk = chunk(n_lines);
    bencher
        .counter(BytesCount::new(chunk.len()))
        .bench_local(|| {
            let n_found = memchr::memchr_iter(b'\n', black_box(&chunk)).count();
            assert_eq!(n_found, n_lines);
        });
}
