//! From a word as it stands to its bases (WordNet's morphy: irregular forms first, then suffix rules), and from a base
//! back to the form that was there.
//!
//! Guarantee: [`analyses`] gives only what [`inflect`] turns into the word again, so a replacement is inflected by the
//! rules under which the word was understood.

use super::lexicon::is_one_of;
use super::wordnet::{Pos, WordNet};

/// How a word stands in its sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Base,
    Plural,
    /// Of a verb: -s.
    Third,
    Past,
    Participle,
    Gerund,
    Comparative,
    Superlative,
}

/// One way to understand a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Analysis {
    pub base: String,
    pub pos: Pos,
    pub form: Form,
}

/// All ways to understand `word` (lower case) that lead to an entry of the lexicon.
pub(super) fn analyses(wordnet: &WordNet, word: &str) -> Vec<Analysis> {
    let mut found: Vec<Analysis> = Vec::new();
    let mut consider = |base: &str, pos: Pos, form: Form| {
        let analysis = Analysis { base: base.to_owned(), pos, form };
        let again = |form| inflect(wordnet, base, pos, form).as_deref() == Some(word);
        // A past form that is also the participle is told once, as past.
        let twice = form == Form::Participle && again(Form::Past);
        if wordnet.has(base, pos) && again(form) && !twice && !found.contains(&analysis) {
            found.push(analysis);
        }
    };
    for pos in Pos::ALL {
        for base in wordnet.bases(word) {
            for &form in forms(pos) {
                consider(base, pos, form);
            }
        }
        consider(word, pos, Form::Base);
        for &(suffix, ending, form) in suffixes(pos) {
            if let Some(stem) = word.strip_suffix(suffix) {
                consider(&format!("{stem}{ending}"), pos, form);
                if let [.., before, last] = stem.as_bytes()
                    && before == last
                    && last.is_ascii()
                {
                    consider(&stem[..stem.len() - 1], pos, form);
                }
            }
        }
    }
    found
}

/// The forms of a part of speech other than the base.
fn forms(pos: Pos) -> &'static [Form] {
    match pos {
        Pos::Noun => &[Form::Plural],
        Pos::Verb => &[Form::Third, Form::Past, Form::Participle, Form::Gerund],
        Pos::Adjective | Pos::Adverb => &[Form::Comparative, Form::Superlative],
    }
}

/// Suffix, what the base has in its place, and the form told by it (the rules of morphy).
fn suffixes(pos: Pos) -> &'static [(&'static str, &'static str, Form)] {
    use Form::{Comparative, Gerund, Past, Plural, Superlative, Third};
    match pos {
        Pos::Noun => &[("ies", "y", Plural), ("men", "man", Plural), ("es", "", Plural), ("s", "", Plural)],
        Pos::Verb => &[
            ("ies", "y", Third),
            ("es", "", Third),
            ("s", "", Third),
            ("ied", "y", Past),
            ("ed", "e", Past),
            ("ed", "", Past),
            ("ying", "ie", Gerund),
            ("ing", "e", Gerund),
            ("ing", "", Gerund),
        ],
        Pos::Adjective => &[
            ("ier", "y", Comparative),
            ("er", "e", Comparative),
            ("er", "", Comparative),
            ("iest", "y", Superlative),
            ("est", "e", Superlative),
            ("est", "", Superlative),
        ],
        Pos::Adverb => &[],
    }
}

/// The form of a base; None if there is none of a single word (`more estimable`).
pub(super) fn inflect(wordnet: &WordNet, base: &str, pos: Pos, form: Form) -> Option<String> {
    match form {
        // is, are, were: a matter of person, not of form alone.
        _ if base == "be" && pos == Pos::Verb => None,
        Form::Base => Some(base.to_owned()),
        Form::Plural => Some(plural(wordnet, base)),
        Form::Third if base == "have" => Some("has".to_owned()),
        Form::Third => Some(listed(wordnet, base, "zzes").unwrap_or_else(|| with_s(base))),
        Form::Gerund => Some(listed(wordnet, base, "ing").unwrap_or_else(|| gerund(base))),
        Form::Past => Some(past(wordnet, base).0),
        Form::Participle => Some(past(wordnet, base).1),
        Form::Comparative | Form::Superlative if matches!(pos, Pos::Noun | Pos::Verb) => None,
        // faster, sooner: few adverbs have them, most take `more`.
        Form::Comparative | Form::Superlative if pos == Pos::Adverb && base != "well" => None,
        Form::Comparative => compared(wordnet, base, "er"),
        Form::Superlative => compared(wordnet, base, "est"),
    }
}

/// Whether a noun of the lexicon is itself a plural (`earnings`, `goods`), told by its singular being known too.
pub(super) fn is_plural(wordnet: &WordNet, noun: &str) -> bool {
    const SINGULAR: [&str; 6] = ["ss", "us", "is", "ics", "news", "lens"];
    let Some(stem) = noun.strip_suffix('s').filter(|stem| stem.len() > 2) else { return false };
    if SINGULAR.iter().any(|ending| noun.ends_with(ending)) {
        return false;
    }
    let known = |base: &str| wordnet.has(base, Pos::Noun);
    stem.ends_with("ing")
        || known(stem)
        || stem.strip_suffix('e').is_some_and(known)
        || stem.strip_suffix("ie").is_some_and(|stem| known(&format!("{stem}y")))
}

/// An irregular form on `ending` (`stopped`, `bigger`), by the list.
fn listed(wordnet: &WordNet, base: &str, ending: &str) -> Option<String> {
    wordnet.irregular(base).find(|form| form.ends_with(ending) && form.len() > ending.len() + 1).map(str::to_owned)
}

fn plural(wordnet: &WordNet, noun: &str) -> String {
    if noun.ends_with("ics") {
        return noun.to_owned();
    }
    if let Some(form) = wordnet.irregular(noun).find(|form| is_usual_plural(noun, form)) {
        return form.to_owned();
    }
    match noun.strip_suffix("man").filter(|stem| !stem.is_empty() && !["hu", "ger", "ro", "talis"].contains(stem)) {
        Some(stem) => format!("{stem}men"),
        None => with_s(noun),
    }
}

/// Whether an irregular form of a noun is the plural that people write. The list does not tell plurals from verb forms
/// (`outlay`, `outlaid`), and holds learned ones beside the everyday `auras` and `bandits`.
fn is_usual_plural(noun: &str, form: &str) -> bool {
    /// Endings of noun and form.
    const USUAL: [(&str, &str); 9] = [
        ("man", "men"),
        ("is", "es"),
        ("f", "ves"),
        ("fe", "ves"),
        ("o", "oes"),
        ("z", "zzes"),
        ("on", "a"),
        ("um", "a"),
        ("us", "i"),
    ];
    const VOWEL: &str = "children feet teeth geese mice lice dice oxen indices";
    const REGULAR: &str = "genius staff vacuum forum beef bravo";
    let usual = USUAL
        .iter()
        .any(|(base, plural)| noun.strip_suffix(base).is_some_and(|stem| form.strip_prefix(stem) == Some(plural)));
    !is_one_of(REGULAR, noun) && (usual || VOWEL.split(' ').any(|ending| form.ends_with(ending)))
}

fn with_s(word: &str) -> String {
    if let Some(stem) = consonant_y(word) {
        return format!("{stem}ies");
    }
    let hissing = ["s", "x", "z", "ch", "sh"].iter().any(|ending| word.ends_with(ending));
    let sounded = ["go", "do", "echo", "hero", "veto", "potato", "tomato"].iter().any(|ending| word.ends_with(ending));
    if hissing || sounded { format!("{word}es") } else { format!("{word}s") }
}

/// Whether a short word doubles its last consonant before an ending: `scam`, `scammed`.
fn doubled(word: &str) -> Option<String> {
    let is_vowel = |letter: &u8| b"aeiouy".contains(letter);
    match word.as_bytes() {
        [.., before, vowel, last]
            if is_vowel(vowel)
                && !is_vowel(before)
                && !is_vowel(last)
                && !b"wx".contains(last)
                && word.bytes().filter(|letter| is_vowel(letter)).count() == 1 =>
        {
            Some(format!("{word}{}", char::from(*last)))
        }
        _ => None,
    }
}

fn gerund(verb: &str) -> String {
    if let Some(stem) = doubled(verb) {
        return format!("{stem}ing");
    }
    match verb.strip_suffix("ie") {
        Some(stem) => format!("{stem}ying"),
        None => match verb.strip_suffix('e') {
            Some(stem) if !verb.ends_with("ee") && !verb.ends_with("oe") && !verb.ends_with("ye") && stem.len() > 1 => {
                format!("{stem}ing")
            }
            _ => format!("{verb}ing"),
        },
    }
}

/// Past and past participle of a verb.
fn past(wordnet: &WordNet, verb: &str) -> (String, String) {
    /// The same in all three forms.
    const SAME: &str = "cut put set hit let hurt cost quit shut split spread burst cast rid shed thrust upset bet broadcast \
        forecast reset recast outbid slit overcast offset beset sublet typeset undercut read";
    /// Regular forms are the usual ones, the irregular ones old or British.
    const REGULAR: &str = "work curse grip dream learn burn leap lean spell spill smell spoil light shave melt heave clothe \
        gild gird thrive cleave dive sneak transfix trammel swap pen ban coordinate focus vacuum";
    /// The participle is the base again.
    const BASE_AGAIN: &str = "come become overcome run rerun overrun outrun";
    if is_one_of(SAME, verb) {
        return (verb.to_owned(), verb.to_owned());
    }
    let regular = || listed(wordnet, verb, "ed").unwrap_or_else(|| with_ed(verb));
    if is_one_of(REGULAR, verb) {
        return (regular(), regular());
    }
    let irregular: Vec<&str> = wordnet.irregular(verb).filter(|form| is_past(wordnet, verb, form)).collect();
    let is_participle = |form: &str| {
        let sung = irregular.iter().any(|other| *other != form && other.replace('a', "u") == form);
        let other_sings = irregular.iter().any(|other| *other != form && form.replace('a', "u") == *other);
        sung || (!other_sings && irregular.len() > 1 && (form.ends_with('n') || form.ends_with("ne")))
    };
    match irregular.as_slice() {
        [] => (regular(), regular()),
        // Only the participle is irregular: shown, proven; beaten.
        [form] if adds_n(verb, form) => {
            (if verb.ends_with("beat") { verb.to_owned() } else { regular() }, (*form).to_owned())
        }
        forms => {
            let past = forms.iter().rfind(|form| !is_participle(form)).unwrap_or(&forms[0]);
            // Of sunk and sunken, borne and born those that are no adjectives.
            let participle = forms
                .iter()
                .filter(|form| is_participle(form))
                .min_by_key(|form| form.ends_with("unken") || **form == "born");
            let participle = participle.unwrap_or(past);
            let participle = if is_one_of(BASE_AGAIN, verb) { verb } else { participle };
            ((*past).to_owned(), participle.to_owned())
        }
    }
}

/// Whether an irregular form of `verb` is a past or a participle of its own making, rather than the plural of the noun
/// that is spelt the same, another ending, or a mere doubled consonant.
fn is_past(wordnet: &WordNet, verb: &str, form: &str) -> bool {
    let plural_of_noun =
        wordnet.has(verb, Pos::Noun) && (form.ends_with("eet") && verb.ends_with("oot") || form == "mice");
    let ends = |endings: &[&str]| endings.iter().any(|ending| form.ends_with(ending));
    !plural_of_noun
        && !ends(&["ing", "s", "er", "est", "men", "eeth", "eese"])
        && (!form.ends_with("ed") || ["shed", "fled", "sped", "bled", "fed", "bred", "led", "sled"].contains(&form))
}

/// `shown` of show, `proven` of prove, `swollen` of swell.
fn adds_n(verb: &str, form: &str) -> bool {
    let stem = verb.strip_suffix('e').unwrap_or(verb);
    form.strip_prefix(stem).is_some_and(|rest| ["n", "en"].contains(&rest))
        || ["swollen", "molten", "laden"].contains(&form)
}

fn with_ed(verb: &str) -> String {
    if let Some(stem) = doubled(verb) {
        return format!("{stem}ed");
    }
    match (consonant_y(verb), verb.ends_with('e')) {
        (Some(stem), _) => format!("{stem}ied"),
        (None, true) => format!("{verb}d"),
        (None, false) => format!("{verb}ed"),
    }
}

/// -er or -est, for the short adjectives and adverbs that take them.
fn compared(wordnet: &WordNet, base: &str, ending: &str) -> Option<String> {
    let special = match (base, ending) {
        ("good" | "well", "er") => "better",
        ("good" | "well", _) => "best",
        ("bad" | "badly", "er") => "worse",
        ("bad" | "badly", _) => "worst",
        _ => "",
    };
    if !special.is_empty() {
        return Some(special.to_owned());
    }
    if let Some(form) = listed(wordnet, base, ending) {
        return Some(form);
    }
    let groups = base.split(|c| !"aeiouy".contains(c)).filter(|vowels| !vowels.is_empty()).count();
    let syllables = groups - usize::from(base.ends_with('e') && groups > 1 && !base.ends_with("le"));
    match consonant_y(base) {
        Some(stem) if syllables <= 2 => Some(format!("{stem}i{ending}")),
        Some(_) => None,
        None if syllables > 1 || base.ends_with("ed") || base.ends_with("ing") => None,
        // Short ones that double a consonant and are in use (bigger) are all in the list.
        None if doubled(base).is_some() => None,
        None => Some(format!("{}{ending}", base.strip_suffix('e').unwrap_or(base))),
    }
}

/// The stem of a word that ends in a consonant and y.
fn consonant_y(word: &str) -> Option<&str> {
    word.strip_suffix('y').filter(|stem| stem.len() > 1 && !stem.ends_with(['a', 'e', 'i', 'o', 'u']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflected_forms() {
        let check = |base: &str, pos: Pos, form: Form, expected: &str| {
            assert_eq!(inflect(WordNet::embedded(), base, pos, form).as_deref().unwrap_or("-"), expected, "{base}");
        };
        for (base, expected) in [
            ("profit", "profits"),
            ("city", "cities"),
            ("day", "days"),
            ("box", "boxes"),
            ("church", "churches"),
            ("child", "children"),
            ("man", "men"),
            ("woman", "women"),
            ("foot", "feet"),
            ("leaf", "leaves"),
            ("human", "humans"),
            ("knife", "knives"),
            ("hero", "heroes"),
            ("bus", "buses"),
            ("brother", "brothers"),
            ("analysis", "analyses"),
            ("work", "works"),
            ("mouse", "mice"),
            ("program", "programs"),
        ] {
            check(base, Pos::Noun, Form::Plural, expected);
        }
        for (base, past, participle, gerund, third) in [
            ("rise", "rose", "risen", "rising", "rises"),
            ("stop", "stopped", "stopped", "stopping", "stops"),
            ("try", "tried", "tried", "trying", "tries"),
            ("play", "played", "played", "playing", "plays"),
            ("sing", "sang", "sung", "singing", "sings"),
            ("begin", "began", "begun", "beginning", "begins"),
            ("show", "showed", "shown", "showing", "shows"),
            ("make", "made", "made", "making", "makes"),
            ("run", "ran", "run", "running", "runs"),
            ("cut", "cut", "cut", "cutting", "cuts"),
            ("work", "worked", "worked", "working", "works"),
            ("die", "died", "died", "dying", "dies"),
            ("write", "wrote", "written", "writing", "writes"),
            ("win", "won", "won", "winning", "wins"),
            ("beat", "beat", "beaten", "beating", "beats"),
            ("see", "saw", "seen", "seeing", "sees"),
            ("give", "gave", "given", "giving", "gives"),
            ("find", "found", "found", "finding", "finds"),
            ("bear", "bore", "borne", "bearing", "bears"),
            ("become", "became", "become", "becoming", "becomes"),
            ("watch", "watched", "watched", "watching", "watches"),
            ("lie", "lay", "lain", "lying", "lies"),
            ("feed", "fed", "fed", "feeding", "feeds"),
            ("hope", "hoped", "hoped", "hoping", "hopes"),
        ] {
            check(base, Pos::Verb, Form::Past, past);
            check(base, Pos::Verb, Form::Participle, participle);
            check(base, Pos::Verb, Form::Gerund, gerund);
            check(base, Pos::Verb, Form::Third, third);
        }
        for (base, comparative, superlative) in [
            ("big", "bigger", "biggest"),
            ("happy", "happier", "happiest"),
            ("nice", "nicer", "nicest"),
            ("good", "better", "best"),
            ("estimable", "-", "-"),
            ("great", "greater", "greatest"),
            ("tired", "-", "-"),
        ] {
            check(base, Pos::Adjective, Form::Comparative, comparative);
            check(base, Pos::Adjective, Form::Superlative, superlative);
        }
    }

    #[test]
    fn words_understood() {
        let check = |word: &str, expected: &[(&str, Pos, Form)]| {
            let found = analyses(WordNet::embedded(), word);
            let found: Vec<_> = found.iter().map(|a| (a.base.as_str(), a.pos, a.form)).collect();
            assert_eq!(found, expected, "{word}");
        };
        check(
            "profits",
            &[
                ("profits", Pos::Noun, Form::Base),
                ("profit", Pos::Noun, Form::Plural),
                ("profit", Pos::Verb, Form::Third),
            ],
        );
        check("hoping", &[("hope", Pos::Verb, Form::Gerund)]);
        check("risen", &[("rise", Pos::Verb, Form::Participle)]);
        check("children", &[("child", Pos::Noun, Form::Plural)]);
        check("happier", &[("happy", Pos::Adjective, Form::Comparative)]);
        check("xyzzy", &[]);
    }

    /// Over the whole lexicon: what is inflected is understood again.
    #[test]
    fn every_form_is_understood_again() {
        let wordnet = WordNet::embedded();
        let mut seen = 0;
        for base in wordnet.words() {
            for pos in Pos::ALL.into_iter().filter(|&pos| wordnet.has(base, pos)) {
                for &form in forms(pos) {
                    let Some(word) = inflect(wordnet, base, pos, form).filter(|word| word != base) else { continue };
                    let past = inflect(wordnet, base, pos, Form::Past);
                    let told = if form == Form::Participle && past.as_ref() == Some(&word) { Form::Past } else { form };
                    let wanted = Analysis { base: base.to_owned(), pos, form: told };
                    assert!(analyses(wordnet, &word).contains(&wanted), "{word}: {wanted:?}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 50_000, "{seen}");
    }

    #[test]
    fn plural_nouns_are_known() {
        for (noun, expected) in [
            ("earnings", true),
            ("profits", true),
            ("goods", true),
            ("gas", false),
            ("bus", false),
            ("news", false),
            ("glass", false),
        ] {
            assert_eq!(is_plural(WordNet::embedded(), noun), expected, "{noun}");
        }
    }
}
