//! Parquet: row groups from the footer, and their columns as batches.

use super::thrift::check_footer;
use super::{Batches, Columnar, Format, MAX_ROWS, Unit, corrupt, guard, pages, schema};
use crate::error::{Error, Kind, Result, Stage};
use crate::read::decode::Fault;
use arrow_array::RecordBatch;
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    ParquetStatisticsPolicy, RowGroupMetaData,
};
use parquet::file::reader::{ChunkReader, Length};
use std::ops::Range;
use std::sync::Arc;

const MAGIC: &[u8] = b"PAR1";
const ENCRYPTED: &[u8] = b"PARE";

/// Length of the footer and the magic bytes, at the very end.
const TAIL_BYTES: u64 = 8;

/// Largest footer that is read. They have some hundred bytes a column and row group.
const MAX_FOOTER_BYTES: u64 = 256 << 20;

/// Most values of a column of a row group, nulls included: 16 bytes each where one row has them all.
const MAX_VALUES: u64 = 1 << 28;

/// Decoded bytes that a batch of rows should have, and the most rows of one.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_ROWS: u64 = 1024;

/// What row groups are decoded with.
#[derive(Debug)]
pub(super) struct Footer {
    metadata: ArrowReaderMetadata,
    /// Which row group a unit is; empty ones are left out.
    groups: Vec<u32>,
}

pub(super) fn list(
    size: u64,
    read: &mut impl FnMut(Range<u64>) -> Result<Bytes>,
) -> Result<Columnar> {
    let unreadable = |fault| Ok(Columnar::unreadable(size, fault));
    let Some(tail_at) = size
        .checked_sub(TAIL_BYTES)
        .filter(|at| *at >= MAGIC.len() as u64)
    else {
        return unreadable(Fault::Cut);
    };
    let tail = read(tail_at..size)?;
    let (len, magic) = tail.split_at_checked(4).unwrap_or_default();
    if magic == ENCRYPTED {
        return Err(encrypted());
    }
    let Ok(len) = <[u8; 4]>::try_from(len) else {
        return unreadable(Fault::Cut);
    };
    if magic != MAGIC {
        return unreadable(Fault::Cut);
    }
    let len = u64::from(u32::from_le_bytes(len));
    let Some(footer_at) = tail_at
        .checked_sub(len)
        .filter(|at| *at >= MAGIC.len() as u64)
    else {
        return unreadable(corrupt("its footer would begin before the file does"));
    };
    if len > MAX_FOOTER_BYTES {
        let message = format!("its footer has {len} bytes, and {MAX_FOOTER_BYTES} is the most");
        return Err(
            Error::new(Kind::Limit, Stage::Read, message).remedy("write it as several shards")
        );
    }
    let footer = read(footer_at..tail_at)?;
    match check_footer(&footer) {
        Ok(false) => {}
        Ok(true) => return Err(encrypted()),
        Err(what) => return unreadable(corrupt(format!("its footer: {what}"))),
    }
    let metadata = match guard(|| parse(&footer)) {
        Ok(metadata) => metadata,
        Err(fault) => return unreadable(fault),
    };
    schema::check(metadata.schema())?;
    let mut columnar = Columnar {
        units: Vec::new(),
        rest: None,
        format: Format::Unknown,
    };
    let mut groups = Vec::new();
    let (mut end, mut rows) = (MAGIC.len() as u64, 0u64);
    for (at, group) in (0..).zip(metadata.metadata().row_groups()) {
        refuse_codecs(group)?;
        match unit(group, end..footer_at) {
            Ok(None) => {}
            Ok(Some(unit)) => {
                end = unit.end;
                rows = rows.saturating_add(unit.rows);
                columnar.units.push(unit);
                groups.push(at);
            }
            Err(fault) => {
                // Nothing behind it can be trusted to lie where the footer says.
                columnar.end_with(end..footer_at, fault);
                columnar.format = Format::Parquet(Footer { metadata, groups });
                return Ok(columnar);
            }
        }
    }
    let file = metadata.metadata().file_metadata();
    if file.num_rows() != i64::try_from(rows).unwrap_or(i64::MAX) {
        let told = file.num_rows();
        return unreadable(corrupt(format!(
            "its row groups have {rows} rows, and its footer says {told}"
        )));
    }
    columnar.format = Format::Parquet(Footer { metadata, groups });
    Ok(columnar)
}

fn parse(footer: &[u8]) -> Result<ArrowReaderMetadata, Fault> {
    // Statistics are most of a footer, and of no use here.
    let options = ParquetMetaDataOptions::new()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
    let metadata = ParquetMetaDataReader::decode_metadata_with_options(footer, Some(&options));
    let metadata = Arc::new(metadata.map_err(footer_fault)?);
    // The types are those of Parquet. What else the writer's Arrow had (large lists, dictionaries, names of zones)
    // changes no JSON.
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let natural = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options());
    let natural = natural.map_err(footer_fault)?;
    let views = Arc::new(schema::with_views(natural.schema()));
    let options = options().with_schema(views);
    ArrowReaderMetadata::try_new(metadata, options).map_err(footer_fault)
}

fn footer_fault(error: ParquetError) -> Fault {
    corrupt(format!("its footer: {error}"))
}

fn encrypted() -> Error {
    Error::new(
        Kind::Recipe,
        Stage::Read,
        "is encrypted Parquet, which is not read",
    )
    .remedy("write it without encryption")
}

fn refuse_codecs(group: &RowGroupMetaData) -> Result<()> {
    for column in group.columns() {
        let (codec, remedy) = match column.compression() {
            Compression::UNCOMPRESSED
            | Compression::SNAPPY
            | Compression::GZIP(_)
            | Compression::ZSTD(_)
            | Compression::LZ4_RAW => continue,
            Compression::LZ4 => ("LZ4 in its deprecated form", "LZ4_RAW"),
            Compression::BROTLI(_) => ("brotli", "zstd"),
            Compression::LZO => ("LZO", "zstd"),
        };
        let name = column.column_path().string();
        let message = format!("the column {name} is compressed with {codec}, which is not read");
        return Err(Error::new(Kind::Recipe, Stage::Read, message)
            .remedy(format!("write it with snappy or {remedy}")));
    }
    Ok(())
}

/// The unit of a row group, which must lie within `room`; none if it has no rows.
fn unit(group: &RowGroupMetaData, room: Range<u64>) -> Result<Option<Unit>, Fault> {
    let size =
        |size: i64| u64::try_from(size).map_err(|_| corrupt("its footer has a size below 0"));
    let rows = size(group.num_rows())?;
    if rows == 0 {
        return Ok(None);
    }
    if rows > MAX_ROWS {
        return Err(Fault::TooLarge(format!(
            "has {rows} rows, and {MAX_ROWS} is the most"
        )));
    }
    let (mut start, mut end, mut decoded) = (u64::MAX, 0, 0u64);
    for column in group.columns() {
        if column.file_path().is_some() {
            return Err(corrupt("its columns lie in another file"));
        }
        let values = size(column.num_values())?;
        if values > MAX_VALUES {
            return Err(Fault::TooLarge(format!(
                "has a column of {values} values, and {MAX_VALUES} is the most"
            )));
        }
        let stored = stored(column)?;
        if stored.start < room.start || stored.end > room.end {
            return Err(corrupt("a column lies outside of its place"));
        }
        start = start.min(stored.start);
        end = end.max(stored.end);
        decoded = decoded.saturating_add(size(column.uncompressed_size())?);
    }
    Ok(Some(Unit {
        start: start.min(end),
        end,
        decoded,
        rows,
    }))
}

/// Where a column chunk lies.
fn stored(column: &ColumnChunkMetaData) -> Result<Range<u64>, Fault> {
    let start = column.dictionary_page_offset();
    let start = start.unwrap_or(column.data_page_offset());
    let range = u64::try_from(start).ok().and_then(|start| {
        let len = u64::try_from(column.compressed_size()).ok()?;
        Some(start..start.checked_add(len)?)
    });
    range.ok_or_else(|| corrupt("its footer has a size below 0"))
}

impl Footer {
    /// Looks at the pages of a row group and begins to decode it.
    pub(super) fn open(&self, block: u64, unit: &Unit, bytes: Bytes) -> Result<Batches, Fault> {
        let group = usize::try_from(block).ok();
        let group = group.and_then(|block| self.groups.get(block)).copied();
        let group = group.and_then(|group| usize::try_from(group).ok());
        let group = group.ok_or_else(|| corrupt("there is no such row group"))?;
        let stored = Stored {
            start: unit.start,
            bytes,
        };
        for column in metadata(&self.metadata, group)?.columns() {
            let range = self::stored(column)?;
            let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let chunk = stored.get_bytes(range.start, len).map_err(decode_fault)?;
            pages::check(&chunk, column)?;
        }
        let a_row = (unit.decoded / unit.rows.max(1)).max(1);
        let rows = (BATCH_BYTES / a_row).clamp(1, BATCH_ROWS);
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(stored, self.metadata.clone())
                .with_row_groups(vec![group])
                .with_batch_size(usize::try_from(rows).unwrap_or(1))
                .build();
        Ok(Batches::Many(Box::new(RowGroup(
            reader.map_err(decode_fault)?,
        ))))
    }
}

fn metadata(footer: &ArrowReaderMetadata, group: usize) -> Result<&RowGroupMetaData, Fault> {
    let metadata: &ParquetMetaData = footer.metadata();
    let group = metadata.row_groups().get(group);
    group.ok_or_else(|| corrupt("there is no such row group"))
}

fn decode_fault(error: ParquetError) -> Fault {
    corrupt(error.to_string())
}

/// A row group that is decoded batch by batch.
pub(super) struct RowGroup(ParquetRecordBatchReader);

impl RowGroup {
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, Fault> {
        let next = self.0.next().transpose();
        next.map_err(|error| corrupt(error.to_string()))
    }
}

/// The stored bytes of a row group, found under their offsets in the file.
struct Stored {
    start: u64,
    bytes: Bytes,
}

impl Length for Stored {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Stored {
    fn from(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let at = start.checked_sub(self.start);
        let at = at.and_then(|at| usize::try_from(at).ok());
        match at {
            Some(at) if at <= self.bytes.len() => Ok(self.bytes.slice(at..)),
            _ => Err(outside()),
        }
    }
}

impl ChunkReader for Stored {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.from(start)?;
        match length <= bytes.len() {
            true => Ok(bytes.slice(..length)),
            false => Err(outside()),
        }
    }
}

fn outside() -> ParquetError {
    ParquetError::EOF("a page lies outside of its row group".to_owned())
}
