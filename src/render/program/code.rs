//! What a template compiles to: the parts of Jinja that chat templates are written in.
//!
//! Whatever is not among them compiles to [`Node::Ask`] or [`Expr::Ask`]: a run that gets there gives up, and the engine
//! renders the row.

use crate::render::json::Style;
use crate::render::row::KnownKey;
use minijinja::Value;
use std::ops::Range;

/// A template.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) main: Unit,
    pub(super) macros: Vec<Macro>,
    /// At most so many instructions of the engine for the declaration of a macro: it looks up what the macro closes over.
    pub(super) declaration: u64,
}

/// The top level, or a macro's body.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) body: Block,
    /// Variables in it.
    pub(super) slots: usize,
    /// Most frames that the engine has open in it at once.
    pub(super) frames: usize,
    /// How deep blocks and expressions lie in each other.
    pub(super) depth: usize,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) unit: Unit,
    /// Names of the arguments, which are the first slots, and what they are where they are not given.
    pub(super) args: Vec<(String, Option<Expr>)>,
}

/// Statements, and at most so many instructions of the engine for those of them that are not in blocks of their own.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) nodes: Vec<Node>,
    pub(super) cost: u64,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "made once a template, and read in place"
)]
pub(super) enum Node {
    /// Literal text.
    Text(Box<str>),
    /// What an expression is.
    Print(Expr),
    /// The sum of texts, printed one after the other; the engine makes it in so many steps, of which each makes a text of
    /// all before it.
    PrintAll(Vec<Expr>, u64),
    If(Box<Branch>),
    For(Box<For>),
    Set {
        slot: usize,
        value: Expr,
    },
    SetField {
        namespace: Expr,
        field: Box<str>,
        value: Expr,
    },
    /// What a block prints, put through filters and into a variable, or printed if there is none.
    Capture {
        slot: Option<usize>,
        /// Sees the text as [`Expr::Captured`].
        filter: Option<Expr>,
        body: Block,
    },
    With {
        /// Variables that begin unset.
        slots: Range<usize>,
        body: Block,
    },
    Generation(Block),
    Macro {
        slot: usize,
        index: u32,
    },
    /// A loop stands at an item.
    Turn(usize, Expr),
    TurnsEnd(usize),
    Break,
    Continue,
    /// The engine has to render the row.
    Ask,
}

#[derive(Debug)]
pub(super) struct Branch {
    pub(super) test: Expr,
    pub(super) yes: Block,
    pub(super) no: Block,
}

#[derive(Debug)]
pub(super) struct For {
    pub(super) items: Expr,
    pub(super) filter: Option<Expr>,
    /// One variable, or those that an item is unpacked to.
    pub(super) targets: Targets,
    /// Variables that begin unset with each item.
    pub(super) slots: Range<usize>,
    pub(super) body: Block,
    pub(super) otherwise: Block,
}

#[derive(Debug)]
pub(super) enum Targets {
    One(usize),
    Many(Vec<usize>),
}

#[derive(Debug)]
pub(super) enum Expr {
    Undefined,
    None,
    Bool(bool),
    Int(i64),
    Str(Box<str>),
    /// Any other literal.
    Value(Value),
    Var(Var),
    /// A variable that has one slot, and is nothing where that is not set unless the row's kwargs name it.
    Slot(usize, Box<str>),
    Loop(LoopField),
    Attr(Box<Expr>, Key),
    Item(Box<(Expr, Expr)>),
    /// `text.split(separator)[index]`.
    Split(Box<Expr>, Box<str>, i64),
    Slice(Box<[Expr; 4]>),
    Not(Box<Expr>),
    And(Box<(Expr, Expr)>),
    Or(Box<(Expr, Expr)>),
    Compare(Order, Box<(Expr, Expr)>),
    In(Box<(Expr, Expr)>),
    /// A literal text in another.
    Contains(Box<Expr>, Needle),
    Calculate(Sum, Box<(Expr, Expr)>),
    Concat(Box<(Expr, Expr)>),
    If(Box<[Expr; 3]>),
    Is(Kind, Box<Expr>),
    Trim(Box<Expr>),
    Strip(Ends, Box<Expr>, Option<Box<str>>),
    StartsWith(Box<Expr>, Box<str>),
    EndsWith(Box<Expr>, Box<str>),
    Length(Box<Expr>),
    ToText(Box<Expr>),
    /// `|safe`, which changes nothing where nothing is escaped.
    Safe(Box<Expr>),
    Default(Box<Expr>, Box<Expr>, bool),
    ToJson(Box<Expr>, Box<Style>),
    /// What a namespace is to keep.
    Keep(Box<Expr>),
    Get(Box<[Expr; 3]>),
    /// Pairs of a map, for a loop over them.
    Pairs(Box<Expr>),
    Range(Vec<Expr>),
    Namespace(Vec<(Box<str>, Expr)>),
    List(Vec<Expr>),
    Call(Box<Call>),
    /// The text that a capture has taken.
    Captured,
    /// The engine has to render the row.
    Ask,
}

/// The name of a field.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: Box<str>,
    pub(super) known: KnownKey,
}

impl Key {
    pub(super) fn of(name: &str) -> Key {
        Key {
            name: name.into(),
            known: KnownKey::of(name),
        }
    }
}

/// Where a variable is looked up, one place after the other.
#[derive(Debug)]
pub(super) struct Var {
    /// Slots of the unit, the innermost frame's first.
    pub(super) slots: Vec<usize>,
    /// A slot of the template's outermost frame, for macros.
    pub(super) top: Option<usize>,
    /// Whether the engine is asked where none of the `slots` is set.
    pub(super) closed: bool,
    pub(super) root: Root,
}

/// What a name means outside of all frames.
#[derive(Debug)]
pub(super) enum Root {
    Messages,
    Tools,
    Documents,
    AddGenerationPrompt,
    /// The row's kwargs by this name, or else what is the same for every render.
    Shared(Box<str>, Shared),
}

#[derive(Debug)]
pub(super) enum Shared {
    Nothing,
    Value(Value),
    Function(Value),
}

/// What the engine is called for.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) what: Callee,
    pub(super) args: Vec<Expr>,
    pub(super) kwargs: Vec<(Box<str>, Expr)>,
}

#[derive(Debug)]
pub(super) enum Callee {
    Filter(Box<str>),
    Test(Box<str>),
    Method(Box<str>),
    /// A macro or a function of the environment.
    Function(Var),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopField {
    Index0,
    Index,
    Length,
    RevIndex,
    RevIndex0,
    First,
    Last,
    Previous,
    Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    Add,
    Sub,
    Mul,
    Rem,
    FloorDiv,
}

/// Tests of what a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Defined,
    Undefined,
    None,
    Text,
    Mapping,
    Sequence,
    Iterable,
    Boolean,
    Number,
    Integer,
    True,
    False,
}

pub(super) use crate::render::methods::Ends;

/// A text that is searched for, with its searcher.
pub(super) struct Needle {
    pub(super) finder: memchr::memmem::Finder<'static>,
}

impl std::fmt::Debug for Needle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.finder.needle())
    }
}
