//! Traces that somebody else wrote or damaged. What was read and written, without the secrets that it may
//! hold, is read and written as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchstone_client::trace::{Header, Reader, Record, Writer};

fuzz_target!(|data: &[u8]| {
    let Ok(reader) = Reader::new(data) else {
        return;
    };
    let header = reader.header().clone();
    let records: Vec<Record> = reader.flatten().collect();
    let once = written(&header, &records);
    let reader = Reader::new(&*once).expect("what was written");
    let again: Result<Vec<Record>, _> = reader.collect();
    let again = again.expect("what was written");
    assert_eq!(again.len(), records.len());
    assert_eq!(
        String::from_utf8_lossy(&written(&header, &again)),
        String::from_utf8_lossy(&once)
    );
});

fn written(header: &Header, records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), header).expect("memory");
    for record in records {
        writer.write(record).expect("memory");
    }
    writer.finish().expect("memory")
}
