//! The pages of a column chunk, looked at before they are decoded: how much they will be, and how they are encoded.

use super::thrift::page_header;
use super::{MAX_BUFFER_BYTES, corrupt};
use crate::read::decode::Fault;
use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;
use std::io::{self, Read};

/// The encodings of strings whose decoder makes room for as many lengths as the page claims.
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;

/// Refuses a column chunk whose pages hold more than its footer says, or more than can be in memory at once.
pub(super) fn check(chunk: &[u8], column: &ColumnChunkMetaData) -> Result<(), Fault> {
    let mut rest = chunk;
    let (mut values, mut bytes) = (0u64, 0u64);
    while !rest.is_empty() {
        let header = page_header(rest).map_err(corrupt)?;
        let size = |size: i64| u64::try_from(size).map_err(|_| corrupt("a page has no size"));
        let (stored, uncompressed) = (size(header.compressed)?, size(header.uncompressed)?);
        if uncompressed > MAX_BUFFER_BYTES {
            return Err(Fault::TooLarge(format!(
                "has a page of {uncompressed} bytes, and {MAX_BUFFER_BYTES} is the most"
            )));
        }
        let end = usize::try_from(stored)
            .ok()
            .and_then(|stored| header.len.checked_add(stored));
        let page = end.and_then(|end| rest.get(header.len..end));
        let page = page.ok_or_else(|| corrupt("a page ends behind its column"))?;
        rest = end.and_then(|end| rest.get(end..)).unwrap_or_default();
        if let DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY = header.encoding {
            return Err(Fault::Unsupported(
                "has delta-encoded strings, which are not read; write them plain or with a dictionary"
                    .to_owned(),
            ));
        }
        if let Compression::GZIP(_) = column.compression()
            && !header.plain
        {
            let levels = usize::try_from(header.levels).unwrap_or(usize::MAX);
            let page = page.get(levels..).unwrap_or_default();
            check_gzip(page, uncompressed)?;
        }
        bytes = bytes.saturating_add(uncompressed);
        // Data pages of both versions.
        if let 0 | 3 = header.kind {
            values = values.saturating_add(size(header.values)?);
        }
    }
    let claimed = |claimed: i64| u64::try_from(claimed).unwrap_or(0);
    if values > claimed(column.num_values()) {
        return Err(corrupt("its pages hold more values than its footer says"));
    }
    if bytes > claimed(column.uncompressed_size()) {
        return Err(corrupt("its pages hold more bytes than its footer says"));
    }
    Ok(())
}

/// A gzip page is decompressed as far as it goes, whatever its header says: so that is found out here, in no memory.
fn check_gzip(page: &[u8], most: u64) -> Result<(), Fault> {
    let mut text = MultiGzDecoder::new(page).take(most.saturating_add(1));
    match io::copy(&mut text, &mut io::sink()) {
        Ok(bytes) if bytes <= most => Ok(()),
        Ok(_) => Err(corrupt("a page is larger than its header says")),
        Err(error) => Err(corrupt(format!("a page: {error}"))),
    }
}
