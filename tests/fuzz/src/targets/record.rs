//! Records as they lie on disk and travel: any bytes are one or none, and one that is read is written
//! and read again as it was.

use waymesh::delivery::frame::{decode_record, encode_record};

/// The input is a record as it lies in a log.
pub(crate) fn check(input: &[u8]) {
    let Ok(record) = decode_record(input) else {
        return;
    };
    let mut bytes = Vec::new();
    encode_record(&record, &mut bytes);
    // Numbers have more than one form, and floats that are none are left out: the bytes may differ
    // once, and the record that they give may not.
    let again = decode_record(&bytes).expect("what was encoded is read");
    assert_eq!(again, record);
    let mut bytes_again = Vec::new();
    encode_record(&again, &mut bytes_again);
    assert_eq!(bytes_again, bytes);
    assert!(bytes.len() <= 2 * input.len() + 64, "{}", bytes.len());
}
