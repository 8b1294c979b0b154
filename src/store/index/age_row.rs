//! Byte layout of the row `age` of `meta`. Pure.
//!
//! ```text
//! newest | 1 if there is a run (u8), then of the run: start (i64) | last (i64) | newest
//! | 1 if it is settled (u8); newest: 1 if there is one (u8) | ms (i64), or 0 (u8)
//! ```
//!
//! All integers are big-endian.

use crate::{
    store::{
        index::IndexError,
        retention::{Age, Run},
    },
    types::time::UnixMillis,
};

/// The row `age` of `meta`.
pub(super) fn age_value(age: &Age) -> Vec<u8> {
    let mut bytes = Vec::new();
    let put_newest = |newest: Option<UnixMillis>, bytes: &mut Vec<u8>| {
        bytes.push(u8::from(newest.is_some()));
        if let Some(newest) = newest {
            bytes.extend(newest.0.to_be_bytes());
        }
    };
    put_newest(age.newest, &mut bytes);
    bytes.push(u8::from(age.run.is_some()));
    if let Some(run) = age.run {
        bytes.extend(run.start.0.to_be_bytes());
        bytes.extend(run.last.0.to_be_bytes());
        put_newest(run.newest, &mut bytes);
        bytes.push(u8::from(run.is_settled));
    }
    bytes
}

/// Reads what [`age_value`] wrote.
///
/// # Errors
/// [`IndexError::Damaged`] if it did not.
pub(super) fn parse_age(value: &[u8]) -> Result<Age, IndexError> {
    let mut rest = value;
    let age = take_age(&mut rest).filter(|_| rest.is_empty());
    age.ok_or_else(|| IndexError::Damaged(format!("age {}", value.escape_ascii())))
}

fn take_age(rest: &mut &[u8]) -> Option<Age> {
    let newest = take_newest(rest)?;
    let run = if take_switch(rest)? {
        Some(Run {
            start: take_millis(rest)?,
            last: take_millis(rest)?,
            newest: take_newest(rest)?,
            is_settled: take_switch(rest)?,
        })
    } else {
        None
    };
    Some(Age { newest, run })
}

fn take_newest(rest: &mut &[u8]) -> Option<Option<UnixMillis>> {
    if take_switch(rest)? {
        take_millis(rest).map(Some)
    } else {
        Some(None)
    }
}

fn take_millis(rest: &mut &[u8]) -> Option<UnixMillis> {
    let bytes = rest.split_off(..8)?;
    bytes
        .try_into()
        .ok()
        .map(i64::from_be_bytes)
        .map(UnixMillis)
}

fn take_switch(rest: &mut &[u8]) -> Option<bool> {
    match rest.split_off_first()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_newest() -> impl Strategy<Value = Option<UnixMillis>> {
        prop::option::of(any::<i64>().prop_map(UnixMillis))
    }

    fn any_run() -> impl Strategy<Value = Run> {
        let times = (any::<i64>(), any::<i64>());
        (times, any_newest(), any::<bool>()).prop_map(|((start, last), newest, is_settled)| Run {
            start: UnixMillis(start),
            last: UnixMillis(last),
            newest,
            is_settled,
        })
    }

    proptest! {
        #[test]
        fn an_age_reads_back(newest in any_newest(), run in prop::option::of(any_run())) {
            let age = Age { newest, run };
            let value = age_value(&age);
            prop_assert_eq!(parse_age(&value).unwrap(), age);
            for n_bytes in 0..value.len() {
                prop_assert!(parse_age(&value[..n_bytes]).is_err());
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(parse_age(&bytes));
        }
    }

    #[test]
    fn the_layout_is_frozen() {
        let run = Run {
            start: UnixMillis(1),
            last: UnixMillis(2),
            newest: None,
            is_settled: true,
        };
        let age = Age {
            newest: Some(UnixMillis(-2)),
            run: Some(run),
        };
        let value = b"\x01\xff\xff\xff\xff\xff\xff\xff\xfe\x01\0\0\0\0\0\0\0\x01\
                      \0\0\0\0\0\0\0\x02\0\x01";
        assert_eq!(age_value(&age), value);
    }
}
