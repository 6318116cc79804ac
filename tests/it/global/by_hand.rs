//! The plan against one that is made by hand, from samples, sequence and packer.

use super::*;

/// The rows of a plan made by hand: all encoded in corpus order, put in order, pushed through a packer.
fn naive(corpus: &Corpus, recipe: &Recipe) -> Rows {
    let model = crate::corpus::model(recipe);
    let mut by_block: BTreeMap<u64, Example> = BTreeMap::new();
    for sample in Samples::open(recipe, &model, &corpus.cache()).unwrap() {
        let sample = sample.unwrap();
        if let Ok(example) = sample.content {
            let block = lines_before(sample.source, sample.shard) + sample.record;
            by_block.insert(block, example);
        }
    }
    let sequence = Sequence::new(recipe.seed, "", LINES, recipe.shuffle, recipe.epochs);
    let spec = BatchSpec {
        rows: 1,
        sequence_length: recipe.pack.sequence_length,
        pad_id: model.tokenizer.pad,
        labels: recipe.batch.labels,
        loss_weights: packmill::recipe::LossWeights::Refuse,
        width: IdWidth::I32,
        segment_multiple: recipe.pack.segment_multiple,
        max_segments: recipe.pack.max_segments,
    };
    let mut writer = BatchWriter::new(spec, BufferPool::new(2)).unwrap();
    let mut rows = Rows::new();
    for epoch in 0..recipe.epochs.unwrap() {
        let mut queue: VecDeque<Piece> = VecDeque::new();
        for position in epoch * LINES..(epoch + 1) * LINES {
            let place = sequence.at(position).unwrap();
            assert_eq!(place.epoch, epoch);
            let Some(example) = by_block.get(&place.block) else {
                continue;
            };
            let mut example = example.clone();
            example.origin.epoch = epoch;
            queue.extend(overlong::fit(example, &recipe.pack, None).unwrap().pieces);
        }
        let mut packer = packer::<Piece>(&recipe.pack).unwrap();
        let mut scratch = Scratch::default();
        loop {
            while packer.wants()
                && let Some(piece) = queue.pop_front()
            {
                packer.push(piece);
            }
            let Some(packed) = packer.row(&mut scratch) else {
                break;
            };
            let number = rows.len() as u64;
            writer.push_row(number, &packed.segments).unwrap();
            rows.insert(number, row(&writer.finish().unwrap(), 0));
        }
        assert!(queue.is_empty());
    }
    rows
}

#[test]
fn every_plan_is_the_one_made_by_hand() {
    let corpus = corpus();
    for pack in PACKS {
        let recipe = recipe(&corpus, &format!("{pack}\nepochs: 2"));
        let expected = naive(&corpus, &recipe);
        let one = alone(&corpus, &recipe);
        assert_eq!(one.rows.len(), expected.len(), "{pack}");
        assert_eq!(one.rows, expected, "{pack}");
        let three = world(&corpus, &recipe, 3, None, None);
        assert_eq!(three.rows, expected, "{pack}");
        assert_eq!(three.ledger, one.ledger, "{pack}");
        // Another plan of the same epochs drops and cuts the same.
        assert_eq!(ledger_of_lanes(&corpus, &recipe), one.ledger, "{pack}");
    }
}

#[test]
fn an_overlong_example_is_refused_before_the_first_row() {
    let corpus = corpus();
    let recipe = recipe(
        &corpus,
        "pack: {sequence_length: 400, overlong: error}\nepochs: 1",
    );
    let error = try_rank(&corpus, &recipe, Rank::ALONE, None, None)
        .err()
        .unwrap();
    assert_eq!(error.kind(), Kind::Pack, "{error}");
    assert!(
        error.shard().is_some() && error.record().is_some(),
        "{error}"
    );
    assert!(
        error.to_string().contains("longer than a row of 400"),
        "{error}"
    );
}
