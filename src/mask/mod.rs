//! temporary
use crate::example::Span;
use crate::recipe::{MaskConfig, Markers, Train};
use std::ops::Range;
pub struct Speaker<'a> { pub role: &'a str, pub train: Option<bool> }
pub fn num_label_tokens(t: &[Span]) -> u64 { t.iter().map(|s| u64::from(s.end.saturating_sub(s.start.max(1)))).sum() }
pub fn choose_spans(s: &[Range<usize>], o: &[usize], sp: &[Speaker<'_>], m: &MaskConfig) -> crate::Result<Vec<Range<usize>>> {
    let last = sp.iter().rposition(|s| m.roles.iter().any(|r| r == s.role));
    Ok(s.iter().zip(o).filter(|(_, o)| { let s = &sp[**o]; s.train.unwrap_or_else(|| m.roles.iter().any(|r| r == s.role)) && (m.train != Train::LastAssistant || Some(**o) == last) }).map(|(s, _)| s.clone()).collect()) }
pub fn spans_to_tokens(s: &[Range<usize>], o: &[(u32,u32)]) -> Vec<Span> {
    let mut out: Vec<Span> = vec![];
    let mut at = 0;
    for s in s {
        while at < o.len() && o[at].1 as usize <= s.start { at += 1; }
        let mut first = None; let mut last = 0; let mut i = at;
        while i < o.len() && (o[i].0 as usize) < s.end { if o[i].1 > o[i].0 && o[i].1 as usize > s.start { first.get_or_insert(i as u32); last = i as u32 + 1; } i += 1; }
        if let Some(first) = first { match out.last_mut() { Some(p) if p.end >= first => p.end = last, _ => out.push(first..last) } }
    }
    out
}
pub fn without_end_of_turn(t: &[Span], _ids: &[u32], _a: impl Fn(u32)->bool, _b: impl Fn(u32)->bool) -> Vec<Span> { t.to_vec() }
pub fn completion(p: &[u32], f: &[u32]) -> Vec<Span> { let k = p.iter().zip(f).take_while(|(a, b)| a == b).count() as u32; if k < f.len() as u32 { vec![k..f.len() as u32] } else { vec![] } }
pub fn all(ids: &[u32]) -> Vec<Span> { vec![0..ids.len() as u32] }
pub fn markers(_t: &str, _o: &[(u32,u32)], _m: &Markers) -> Option<Vec<Span>> { None }
