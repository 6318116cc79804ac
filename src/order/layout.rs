//! Global ranks to data-parallel ranks, from how a trainer lays its ranks out.
//!
//! Tensor-, pipeline- and context-parallel peers compute parts of one model replica on the same rows, so they need
//! identical bytes: they have the same data-parallel rank, the only key by which a stream is shared out. A layout is
//! the trainer's own: names and sizes of its dimensions, the slowest first, as torch's `init_device_mesh` takes them.
//! The last dimension's neighbours are neighbouring global ranks.
//!
//! Expert parallelism takes no dimension of its own: in torch's meshes and in Megatron's, experts are spread over ranks
//! that are data-parallel to the rest of the model, and each of these has rows of its own.

use super::lanes::Rank;
use crate::error::{Error, Kind, Result, Stage};
use std::fmt;
use std::str::FromStr;

/// Dimensions along which ranks get other rows.
const DATA: &[&str] = &[
    "dp",
    "dp_replicate",
    "dp_shard",
    "dp_shard_mod_ep",
    "dp_shard_in_ep",
    "ddp",
    "fsdp",
    "data",
    "replicate",
    "shard",
];

/// Dimensions along which ranks are peers, and get the same rows.
const PEERS: &[&str] = &[
    "tp", "pp", "cp", "sp", "mp", "tensor", "pipeline", "pipe", "context", "sequence", "model",
];

/// Begins a text that gives sizes in any order, for Megatron's default one.
const MEGATRON: &str = "megatron:";

/// Megatron's default order `tp-cp-ep-dp-pp`, which names the fastest first, turned round. Its `ep` has size 1 where
/// ranks of the dense layers are laid out.
const MEGATRON_ORDER: [&str; 4] = ["pp", "dp", "cp", "tp"];

/// How a trainer lays its ranks out: dimensions with names and sizes, the slowest first.
///
/// As text `pp=2,dp=4,tp=2`, or, for Megatron's default order whatever the order of the text, `megatron:tp=2,pp=2,dp=4`.
///
/// ```
/// use packmill::order::layout::Layout;
///
/// let layout: Layout = "pp=2,dp=4,tp=2".parse()?;
/// let rank = layout.rank(13)?;
/// assert_eq!((rank.number, rank.world_size), (2, 4));
/// assert!(!layout.is_first_peer(13)?);
/// # Ok::<(), packmill::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    dimensions: Vec<Dimension>,
    /// Product of all sizes.
    ranks: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Dimension {
    name: String,
    size: u32,
    rows: Rows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Other rows.
    Data,
    /// The same rows.
    Peers,
}

impl Layout {
    /// Dimensions by name and size, the slowest first.
    ///
    /// # Errors
    /// [`Kind::Recipe`] for a name that is not known or comes twice, a size of 0, an expert-parallel dimension of more
    /// than 1, and more ranks than a u32 counts.
    pub fn new<S: AsRef<str>>(dimensions: impl IntoIterator<Item = (S, u32)>) -> Result<Layout> {
        let mut layout = Layout {
            dimensions: Vec::new(),
            ranks: 1,
        };
        for (name, size) in dimensions {
            let name = name.as_ref();
            if size == 0 {
                return Err(wrong(format!("{name} has size 0"))
                    .remedy("give each dimension at least 1 rank"));
            }
            if layout.dimensions.iter().any(|known| known.name == name) {
                return Err(wrong(format!("{name} is named twice"))
                    .remedy("name each dimension once, the slowest first"));
            }
            layout.ranks = layout.ranks.checked_mul(size).ok_or_else(|| {
                wrong("there are more ranks than can be counted")
                    .remedy("check the dimensions' sizes")
            })?;
            let rows = usage(name, size)?;
            layout.dimensions.push(Dimension {
                name: name.to_owned(),
                size,
                rows,
            });
        }
        if layout.dimensions.is_empty() {
            return Err(wrong("no dimension is named").remedy("write it as pp=2,dp=4,tp=2"));
        }
        Ok(layout)
    }

    /// Megatron's default order, in which tensor-parallel ranks are neighbours and pipeline stages lie farthest apart.
    ///
    /// # Errors
    /// As [`new`](Layout::new).
    pub fn megatron(tp: u32, cp: u32, dp: u32, pp: u32) -> Result<Layout> {
        Layout::new(MEGATRON_ORDER.into_iter().zip([pp, dp, cp, tp]))
    }

    /// Ranks in all: the product of the sizes.
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    /// The data-parallel rank of a global one: its row-major index along the data-parallel dimensions.
    ///
    /// # Errors
    /// [`Kind::Recipe`] for a global rank that there is not.
    pub fn rank(&self, global: u32) -> Result<Rank> {
        self.along(Rows::Data, global)
    }

    /// Whether a global rank is the first of those with its data-parallel rank: all its other coordinates are 0. Peers
    /// have the same bytes and the same state, so this one alone saves them.
    ///
    /// # Errors
    /// As [`rank`](Layout::rank).
    pub fn is_first_peer(&self, global: u32) -> Result<bool> {
        Ok(self.along(Rows::Peers, global)?.number == 0)
    }

    /// Index and number of ranks along the dimensions of one use.
    fn along(&self, wanted: Rows, global: u32) -> Result<Rank> {
        if global >= self.ranks {
            return Err(wrong(format!(
                "there is no rank {global}: {self} has {} ranks",
                self.ranks
            ))
            .remedy(format!("give a global rank from 0 to {}", self.ranks - 1)));
        }
        // From the fastest dimension on, each digit of the global rank is a coordinate.
        let (mut rest, mut number, mut world_size) = (global, 0, 1);
        for Dimension { size, rows, .. } in self.dimensions.iter().rev() {
            let coordinate = rest % size;
            rest /= size;
            if *rows == wanted {
                number += coordinate * world_size;
                world_size *= size;
            }
        }
        Ok(Rank { number, world_size })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Dimension { name, size, .. }) in self.dimensions.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{name}={size}")?;
        }
        Ok(())
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layout> {
        let sizes = text.strip_prefix(MEGATRON);
        let mut dimensions = Vec::new();
        for part in sizes.unwrap_or(text).split(',') {
            let dimension = part.split_once('=').and_then(|(name, size)| {
                let (name, size) = (name.trim(), size.trim());
                (!name.is_empty()).then_some((name, size.parse().ok()?))
            });
            dimensions.push(dimension.ok_or_else(|| {
                wrong(format!("`{part}` is no dimension with its size"))
                    .remedy("write it as pp=2,dp=4,tp=2, the slowest first")
            })?);
        }
        if sizes.is_none() {
            return Layout::new(dimensions);
        }
        // Refuses what no layout may have, before the order is Megatron's.
        Layout::new(dimensions.iter().copied())?;
        let order = |name: &str| MEGATRON_ORDER.iter().position(|known| *known == name);
        dimensions.retain(|(name, _)| *name != "ep");
        if let Some((name, _)) = dimensions.iter().find(|(name, _)| order(name).is_none()) {
            return Err(
                wrong(format!("Megatron's order has no {name}")).remedy("name tp, cp, dp and pp")
            );
        }
        dimensions.sort_by_key(|(name, _)| order(name));
        Layout::new(dimensions)
    }
}

fn usage(name: &str, size: u32) -> Result<Rows> {
    if DATA.contains(&name) {
        return Ok(Rows::Data);
    }
    // Alone in its dimension it has no peers, nor other rows.
    if PEERS.contains(&name) || (name == "ep" && size == 1) {
        return Ok(Rows::Peers);
    }
    if name == "ep" {
        return Err(wrong(
            "expert-parallel ranks are data-parallel ranks of the rest of the model",
        )
        .remedy("leave ep out: its ranks are in dp (dp_shard) already"));
    }
    let names = || DATA.iter().chain(PEERS);
    let slip = names()
        .map(|known| (strsim::damerau_levenshtein(name, known), *known))
        .filter(|(distance, known)| *distance <= 1.max(known.len() / 4))
        .min_by_key(|(distance, _)| *distance);
    let error = wrong(format!("`{name}` is no dimension that is known"));
    Err(match slip {
        Some((_, known)) => error.remedy(format!("did you mean {known}?")),
        None => {
            let known: Vec<&str> = names().copied().collect();
            error.remedy(format!("known are {}", known.join(", ")))
        }
    })
}

fn wrong(message: impl fmt::Display) -> Error {
    Error::new(Kind::Recipe, Stage::Order, format!("layout: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn layout(text: &str) -> Layout {
        text.parse().unwrap()
    }

    #[test]
    fn usual_layouts() {
        // Coordinates of rank 13 in 2 × 4 × 2: pp 1, dp 2, tp 1.
        let rank = layout("pp=2,dp=4,tp=2").rank(13).unwrap();
        assert_eq!((rank.number, rank.world_size), (2, 4));
        // Replicas of sharded groups: both dimensions have rows of their own, the slower one counts in shards.
        let hybrid = layout("pp=1,dp_replicate=2,dp_shard=4,cp=2,tp=2");
        let rank = hybrid.rank(16 + 4 * 3 + 2).unwrap();
        assert_eq!((rank.number, rank.world_size), (7, 8));
        // Megatron's order, whatever the order of the text.
        let megatron = layout("megatron:tp=2,pp=2,cp=2,dp=2,ep=1");
        assert_eq!(megatron.to_string(), "pp=2,dp=2,cp=2,tp=2");
        assert_eq!(megatron, Layout::megatron(2, 2, 2, 2).unwrap());
        assert_eq!(layout("megatron:dp=2,tp=4"), layout("dp=2,tp=4"));
        assert_eq!(layout("tp=4").rank(3).unwrap(), Rank::ALONE);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        for (text, named) in [
            ("pp=2,dp=0", "dp has size 0"),
            ("dp=2,tp=2,dp=2", "dp is named twice"),
            ("dpp=2", "did you mean"),
            ("fdsp=2", "did you mean fsdp"),
            ("banana=2", "known are dp"),
            ("dp=2,ep=2", "leave ep out"),
            ("dp=65536,tp=65536", "more ranks"),
            ("dp", "`dp` is no dimension"),
            ("dp=-1", "`dp=-1` is no dimension"),
            ("=2", "`=2` is no dimension"),
            ("", "no dimension"),
            ("megatron:dp=2,fsdp=2", "no fsdp"),
        ] {
            let error = text.parse::<Layout>().unwrap_err();
            assert_eq!(error.kind(), Kind::Recipe);
            assert!(error.to_string().contains(named), "{text}: {error}");
        }
        let error = layout("dp=2,tp=2").rank(4).unwrap_err();
        assert!(error.to_string().contains("from 0 to 3"), "{error}");
        assert!(layout("dp=2,tp=2").is_first_peer(4).is_err());
    }

    proptest! {
        /// The naive twin: loops within loops, the last dimension's the innermost.
        #[test]
        fn coordinates_are_those_of_loops_within_loops(
            sizes in prop::collection::vec(1_u32..4, 1..6),
            first in 0_usize..6,
        ) {
            let names = ["pp", "dp_replicate", "dp_shard", "cp", "tp", "sp"];
            let dimensions: Vec<(&str, u32)> = sizes
                .iter()
                .enumerate()
                .map(|(index, &size)| (names[(first + index) % names.len()], size))
                .collect();
            let layout = Layout::new(dimensions.clone()).unwrap();
            prop_assert_eq!(&layout, &layout.to_string().parse::<Layout>().unwrap());
            let mut all: Vec<Vec<u32>> = vec![Vec::new()];
            for &(_, size) in &dimensions {
                let longer = all.iter().flat_map(|begun| {
                    (0..size).map(move |last| begun.iter().copied().chain([last]).collect())
                });
                all = longer.collect();
            }
            prop_assert_eq!(layout.ranks() as usize, all.len());
            let of = |wanted: bool, coordinates: &[u32]| -> Vec<u32> {
                let named = dimensions.iter().zip(coordinates);
                named.filter(|((name, _), _)| name.starts_with("dp") == wanted).map(|(_, at)| *at).collect()
            };
            // The first time that data-parallel coordinates come, they get the next number.
            let mut numbers: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
            let mut every: Vec<Vec<u32>> = all.iter().map(|at| of(true, at)).collect();
            every.sort();
            every.dedup();
            for (number, at) in (0..).zip(every) {
                numbers.insert(at, number);
            }
            let mut peers: BTreeMap<u32, u32> = BTreeMap::new();
            let mut savers: BTreeMap<u32, u32> = BTreeMap::new();
            for (global, at) in (0..).zip(&all) {
                let rank = layout.rank(global).unwrap();
                prop_assert_eq!(rank.number, numbers[&of(true, at)]);
                prop_assert_eq!(rank.world_size as usize, numbers.len());
                *peers.entry(rank.number).or_default() += 1;
                let saves = layout.is_first_peer(global).unwrap();
                prop_assert_eq!(saves, of(false, at).iter().all(|&at| at == 0));
                *savers.entry(rank.number).or_default() += u32::from(saves);
            }
            prop_assert!(peers.values().all(|&count| count as usize == all.len() / numbers.len()));
            prop_assert!(savers.values().all(|&count| count == 1));
        }
    }
}
