use super::*;
use crate::recipe::{Fields, Format, RowKind};
use crate::shard::Codec;
use std::fs;

fn source(folder: &Path, globs: &[&str]) -> SourceConfig {
    SourceConfig {
        name: "s".to_owned(),
        paths: globs
            .iter()
            .map(|glob| folder.join(glob).display().to_string())
            .collect(),
        weight: None,
        limit: None,
        format: Format::Auto,
        kind: RowKind::Auto,
        fields: Fields::default(),
        roles: BTreeMap::new(),
        template: None,
        render: None,
        special_tokens_in_text: None,
        filter: None,
        split: None,
        mask: None,
    }
}

fn refused(folder: &Path, globs: &[&str]) -> String {
    Source::open(&source(folder, globs))
        .unwrap_err()
        .to_string()
}

#[test]
fn sorts_by_path_and_names_below_the_common_folder() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("b/x.jsonl", b"{}".as_slice()),
        ("c/a.jsonl", b"PAR1.."),
        ("c/b.jsonl", b"ARROW1\0\0.."),
        ("c/c.jsonl", b"\xff\xff\xff\xff.."),
        ("a/x.jsonl", b"\x28\xb5\x2f\xfd..".as_slice()),
        ("a/y.jsonl", b"\x1f\x8b.".as_slice()),
        ("a/.hidden.jsonl", b"{}"),
    ] {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let found = Source::open(&source(dir.path(), &["b/*", "a/*"])).unwrap();
    let named: Vec<_> = found
        .shards
        .iter()
        .map(|s| (s.name.as_str(), s.codec))
        .collect();
    assert_eq!(
        named,
        [
            ("a/x.jsonl", Codec::Zstd),
            ("a/y.jsonl", Codec::Gzip),
            ("b/x.jsonl", Codec::Plain)
        ]
    );
    let found = Source::open(&source(dir.path(), &["c/*"])).unwrap();
    let codecs: Vec<_> = found.shards.iter().map(|shard| shard.codec).collect();
    assert_eq!(
        codecs,
        [Codec::Parquet, Codec::ArrowFile, Codec::ArrowStream]
    );
    let found = Source::open(&source(dir.path(), &["b/x.jsonl"])).unwrap();
    assert_eq!(found.shards[0].name, "x.jsonl");
    assert_eq!(found.size_bytes(), 2);
}

#[test]
fn refuses_globs_that_match_nothing_and_files_named_twice() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jsonl"), "{}").unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    assert!(refused(dir.path(), &["a.jsonl", "b-*.jsonl"]).contains("b-*.jsonl` matches no file"));
    assert!(refused(dir.path(), &["folder*"]).contains("matches no file"));
    assert!(refused(dir.path(), &["a*", "a.jsonl"]).contains("same file twice"));
    std::os::unix::fs::symlink(dir.path().join("a.jsonl"), dir.path().join("b.jsonl")).unwrap();
    assert!(refused(dir.path(), &["*.jsonl"]).contains("same file twice"));
    let mut config = source(dir.path(), &[]);
    assert!(
        Source::open(&config)
            .unwrap_err()
            .message()
            .contains("no paths")
    );
    config.paths.push("s3://bucket/a.jsonl".to_owned());
    assert_eq!(Source::open(&config).unwrap_err().kind(), Kind::Recipe);
}

#[test]
fn takes_a_name_with_glob_characters_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a[1].jsonl"), "{}").unwrap();
    assert_eq!(
        Source::open(&source(dir.path(), &["a[1].jsonl"]))
            .unwrap()
            .shards
            .len(),
        1
    );
}

#[test]
fn refuses_what_is_not_text_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for (bytes, said) in [
        (b"BZh91AY".as_slice(), "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"PARE\x15", "encrypted Parquet"),
        (b"{\0}\0", "NUL"),
        (b"\xff\xfe{\0", "UTF-16"),
        (b"", "no bytes"),
    ] {
        fs::write(dir.path().join("a.jsonl"), bytes).unwrap();
        let error = refused(dir.path(), &["a.jsonl"]);
        assert!(error.contains(said) && error.contains(';'), "{error}");
    }
    fs::write(dir.path().join("a.jsonl.zst"), b"").unwrap();
    assert!(refused(dir.path(), &["a.jsonl.zst"]).contains("compressed by its name"));
}

#[test]
fn an_empty_shard_among_others_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jsonl"), b"").unwrap();
    fs::write(dir.path().join("b.jsonl"), b"{}").unwrap();
    assert_eq!(
        Source::open(&source(dir.path(), &["*"]))
            .unwrap()
            .shards
            .len(),
        2
    );
}

#[test]
fn a_changed_shard_is_told_by_size_time_and_inode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    fs::write(&path, b"{}").unwrap();
    let shard = Source::open(&source(dir.path(), &["*"]))
        .unwrap()
        .shards
        .remove(0);
    shard.check(&fs::metadata(&path).unwrap()).unwrap();
    fs::write(&path, b"{").unwrap();
    let error = shard.check(&fs::metadata(&path).unwrap()).unwrap_err();
    assert!(error.message().contains("from 2 to 1 bytes"), "{error}");
    assert_eq!(
        (error.kind(), error.shard()),
        (Kind::Changed, Some("a.jsonl"))
    );
}

#[test]
fn globs_leave_indexes_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jsonl"), b"{}").unwrap();
    fs::write(dir.path().join("a.jsonl.packmill.json"), b"{}").unwrap();
    let found = Source::open(&source(dir.path(), &["*"])).unwrap();
    assert_eq!(found.shards.len(), 1);
    assert!(refused(dir.path(), &["*.json"]).contains("matches no file"));
    // The read stage names them so, and is not known here.
    assert_eq!(paths::SIDECAR, crate::read::sidecar::SUFFIX);
}
