//! Finds the part of speech of a word in its sentence from the neighbouring words, without a tagger.
//!
//! Closed classes of words (determiners, modals, ...) decide what may follow. If they do not decide, the part of speech
//! with clearly more senses in the lexicon is taken.

use super::inflection::{Analysis, Form, inflect};
use super::tokenize::{WordKind, Words};
use super::word_lists::{
    ADVERBS, BE, DETERMINERS, HAVE, INTENSIFIERS, LINKING, MODALS, OBJECTS, PREPOSITIONS, SUBJECTS, is_negation,
    is_one_of, is_stop_word, lower,
};
use super::wordnet::{Pos, WordNet};

/// What the words before a word expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// After a determiner, a number or an adjective.
    Noun,
    /// After a preposition.
    NounOrGerund,
    /// After a modal or `to`.
    BareVerb,
    /// After a subject pronoun.
    Verb,
    /// After a form of `be`, or a similar verb.
    Predicate,
    /// After a form of `have`.
    Participle,
    /// After an intensifier.
    Modifier,
    /// At the start of a sentence, or after punctuation.
    Start,
    Open,
}

/// The analysis of word `index` that fits its place. None if no analysis fits, or if several fit about equally well.
pub(super) fn fitting(wordnet: &WordNet, words: &Words<'_>, index: usize, analyses: &[Analysis]) -> Option<Analysis> {
    let slot = slot(wordnet, words, index);
    let next =
        (index + 1 < words.len() && words.gap(index + 1).trim().is_empty()).then(|| lower(words.word(index + 1)));
    // The present and the past of `cut` or `read` look the same. Only after a modal the form is clear.
    let unclear = |analysis: &Analysis| {
        let Analysis { base, pos, form } = analysis;
        let past = || inflect(wordnet, base, Pos::Verb, Form::Past);
        (*pos, *form) == (Pos::Verb, Form::Base) && slot != Slot::BareVerb && past().as_ref() == Some(base)
    };
    let expected: Vec<&Analysis> =
        analyses.iter().filter(|analysis| fits(slot, next.as_deref(), analysis) && !unclear(analysis)).collect();
    let senses = |analysis: &Analysis| wordnet.senses(&analysis.base, analysis.pos).map_or(0, Iterator::count);
    let likely = |pos: Pos| expected.iter().filter(|a| a.pos == pos).max_by_key(|a| senses(a)).map(|a| (senses(a), *a));
    let mut ranked: Vec<(usize, &Analysis)> = Pos::ALL.into_iter().filter_map(likely).collect();
    ranked.sort_by_key(|(senses, _)| std::cmp::Reverse(*senses));
    // An adjective in its own right (amazing, tired) is not split into a verb and its ending.
    let adjective = expected.iter().find(|analysis| analysis.pos == Pos::Adjective && analysis.form == Form::Base);
    let chosen = match (slot, adjective, ranked.as_slice()) {
        (_, _, []) => return None,
        (_, _, [(_, only)]) => only,
        (Slot::Predicate | Slot::Modifier, Some(adjective), _) => adjective,
        (Slot::Noun | Slot::NounOrGerund, Some(adjective), _) if next.as_deref().is_some_and(is_content) => adjective,
        (_, _, [(first, likely), (second, _), ..])
            if *first >= second * 2 || !matches!(slot, Slot::Start | Slot::Open) =>
        {
            likely
        }
        _ => return None,
    };
    let mut chosen = (*chosen).clone();
    if chosen.form == Form::Past && matches!(slot, Slot::Predicate | Slot::Participle) {
        chosen.form = Form::Participle;
    }
    Some(chosen)
}

fn is_content(word: &str) -> bool {
    !is_stop_word(word) && !is_negation(word) && word.chars().all(char::is_alphabetic)
}

fn fits(slot: Slot, next: Option<&str>, analysis: &Analysis) -> bool {
    let is = |class: &str| next.is_some_and(|next| is_one_of(class, next));
    let Analysis { pos, form, .. } = analysis;
    match slot {
        Slot::Noun => match pos {
            Pos::Noun => true,
            Pos::Adjective => next.is_some_and(is_content) && !is(PREPOSITIONS),
            Pos::Verb | Pos::Adverb => false,
        },
        Slot::NounOrGerund => match pos {
            Pos::Noun => true,
            Pos::Adjective => next.is_some_and(is_content),
            Pos::Verb => *form == Form::Gerund,
            Pos::Adverb => false,
        },
        Slot::BareVerb => *pos == Pos::Verb && *form == Form::Base,
        Slot::Verb => *pos == Pos::Verb && *form != Form::Gerund && *form != Form::Participle,
        Slot::Predicate => match pos {
            Pos::Adjective => true,
            Pos::Verb => matches!(form, Form::Gerund | Form::Past | Form::Participle),
            Pos::Noun | Pos::Adverb => false,
        },
        Slot::Participle => match pos {
            Pos::Verb => matches!(form, Form::Past | Form::Participle),
            Pos::Noun => *form == Form::Plural,
            Pos::Adjective => next.is_some_and(is_content),
            Pos::Adverb => false,
        },
        Slot::Modifier => matches!(pos, Pos::Adjective | Pos::Adverb) && *form == Form::Base,
        Slot::Start | Slot::Open if next == Some("of") => *pos == Pos::Noun,
        Slot::Start | Slot::Open if is(DETERMINERS) || is(OBJECTS) => *pos == Pos::Verb,
        // A verb at the start of a sentence is an imperative or has no subject (went home). It rarely ends in -s.
        Slot::Start => *form != Form::Third,
        Slot::Open => true,
    }
}

/// Adverbs that negate.
const NEGATING: &str = "not never hardly barely rarely seldom scarcely";

fn slot(wordnet: &WordNet, words: &Words<'_>, index: usize) -> Slot {
    let mut at = index;
    let before = loop {
        // Words before punctuation do not decide.
        if at == 0 || !words.gap(at).trim().is_empty() {
            return Slot::Start;
        }
        at -= 1;
        let word = lower(words.word(at));
        let is_skipped = is_one_of(ADVERBS, &word) || is_one_of(NEGATING, &word);
        if !is_skipped {
            break word;
        }
    };
    let is = |class: &str| is_one_of(class, &before);
    let contracted = |ends: &[&str]| ends.iter().any(|end| before.ends_with(end));
    if is(MODALS) || contracted(&["'ll", "'d"]) {
        Slot::BareVerb
    } else if is(BE) || is(LINKING) || contracted(&["'m", "'re", "isn't", "aren't", "weren't"]) {
        Slot::Predicate
    } else if is(HAVE) || contracted(&["'ve"]) {
        Slot::Participle
    } else if contracted(&["'s"]) {
        // `it's` contains a form of `be`; `Mary's` acts as a determiner.
        if is("it's he's she's that's what's there's here's who's") { Slot::Predicate } else { Slot::Noun }
    } else if is(DETERMINERS) {
        Slot::Noun
    } else if is(INTENSIFIERS) {
        Slot::Modifier
    } else if is(SUBJECTS) {
        Slot::Verb
    } else if is(PREPOSITIONS) {
        Slot::NounOrGerund
    } else if words.kind(at) == WordKind::Protected && !is_negation(&before) || is_adjective(wordnet, &before) {
        Slot::Noun
    } else {
        Slot::Open
    }
}

/// Whether the lexicon has more senses of `word` as an adjective than as any other part of speech.
fn is_adjective(wordnet: &WordNet, word: &str) -> bool {
    let senses = |pos| wordnet.senses(word, pos).map_or(0, Iterator::count);
    !is_stop_word(word) && senses(Pos::Adjective) > senses(Pos::Noun).max(senses(Pos::Verb)).max(senses(Pos::Adverb))
}
