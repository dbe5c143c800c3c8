//! Finds the base forms of a word (like WordNet's morphy: irregular forms first, then suffix rules), and inflects a base
//! form.
//!
//! [`analyses`] returns only analyses that [`inflect`] turns into the same word again. A replacement is therefore inflected
//! by the rules that explained the word.

use super::word_lists::is_one_of;
use super::wordnet::{Pos, WordNet};

/// The inflection of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Base,
    Plural,
    /// Third person of a verb: -s.
    Third,
    Past,
    Participle,
    Gerund,
    Comparative,
    Superlative,
}

/// One interpretation of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Analysis {
    pub base: String,
    pub pos: Pos,
    pub form: Form,
}

/// All interpretations of `word` (lower case) whose base is in the lexicon.
pub(super) fn analyses(wordnet: &WordNet, word: &str) -> Vec<Analysis> {
    let mut found: Vec<Analysis> = Vec::new();
    let mut consider = |base: &str, pos: Pos, form: Form| {
        let analysis = Analysis { base: base.to_owned(), pos, form };
        let reproduces = |form| inflect(wordnet, base, pos, form).as_deref() == Some(word);
        // If past and participle are equal, only the past is returned.
        let is_duplicate = form == Form::Participle && reproduces(Form::Past);
        if wordnet.has(base, pos) && reproduces(form) && !is_duplicate && !found.contains(&analysis) {
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

/// The forms of a part of speech except the base.
fn forms(pos: Pos) -> &'static [Form] {
    match pos {
        Pos::Noun => &[Form::Plural],
        Pos::Verb => &[Form::Third, Form::Past, Form::Participle, Form::Gerund],
        Pos::Adjective | Pos::Adverb => &[Form::Comparative, Form::Superlative],
    }
}

/// Suffix rules of morphy: the suffix, the ending of the base, and the form.
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

/// Inflects a base. None if the form needs several words (`more estimable`).
pub(super) fn inflect(wordnet: &WordNet, base: &str, pos: Pos, form: Form) -> Option<String> {
    match form {
        // The forms of `be` (is, are, were) depend on the person.
        _ if base == "be" && pos == Pos::Verb => None,
        Form::Base => Some(base.to_owned()),
        Form::Plural => Some(plural(wordnet, base)),
        Form::Third if base == "have" => Some("has".to_owned()),
        Form::Third => Some(irregular_form(wordnet, base, "zzes").unwrap_or_else(|| with_s(base))),
        Form::Gerund => Some(irregular_form(wordnet, base, "ing").unwrap_or_else(|| gerund(base))),
        Form::Past => Some(past(wordnet, base).0),
        Form::Participle => Some(past(wordnet, base).1),
        Form::Comparative | Form::Superlative if matches!(pos, Pos::Noun | Pos::Verb) => None,
        // Few adverbs have such a form (faster, sooner); most take `more`.
        Form::Comparative | Form::Superlative if pos == Pos::Adverb && base != "well" => None,
        Form::Comparative => compared(wordnet, base, "er"),
        Form::Superlative => compared(wordnet, base, "est"),
    }
}

/// Whether a noun of the lexicon is itself a plural (`earnings`, `goods`). It is if its singular is in the lexicon too.
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

/// The irregular form of `base` that ends with `ending` (`stopped`, `bigger`).
fn irregular_form(wordnet: &WordNet, base: &str, ending: &str) -> Option<String> {
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

/// Whether an irregular form of a noun is the usual plural. The list of WordNet does not separate plurals from verb forms
/// (`outlay`, `outlaid`), and has rare plurals for nouns that are usually regular (`auras`, `bandits`).
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

/// The word with its last consonant doubled, if it is doubled before an ending: `scam`, `scammed`.
fn with_doubled_consonant(word: &str) -> Option<String> {
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
    if let Some(stem) = with_doubled_consonant(verb) {
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
    /// The regular forms are usual; the irregular forms are old or British.
    const REGULAR: &str = "work curse grip dream learn burn leap lean spell spill smell spoil light shave melt heave clothe \
        gild gird thrive cleave dive sneak transfix trammel swap pen ban coordinate focus vacuum";
    /// The participle equals the base.
    const BASE_AGAIN: &str = "come become overcome run rerun overrun outrun";
    if is_one_of(SAME, verb) {
        return (verb.to_owned(), verb.to_owned());
    }
    let regular = || irregular_form(wordnet, verb, "ed").unwrap_or_else(|| with_ed(verb));
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
        // Only the participle is irregular: shown, proven, beaten.
        [form] if adds_n(verb, form) => {
            (if verb.ends_with("beat") { verb.to_owned() } else { regular() }, (*form).to_owned())
        }
        forms => {
            let past = forms.iter().rfind(|form| !is_participle(form)).unwrap_or(&forms[0]);
            // Prefer `sunk` and `borne` to the adjectives `sunken` and `born`.
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

/// Whether an irregular form of `verb` is an irregular past or participle. It may also be the plural of a noun with the same
/// spelling, another ending, or only a doubled consonant.
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
    if let Some(stem) = with_doubled_consonant(verb) {
        return format!("{stem}ed");
    }
    match (consonant_y(verb), verb.ends_with('e')) {
        (Some(stem), _) => format!("{stem}ied"),
        (None, true) => format!("{verb}d"),
        (None, false) => format!("{verb}ed"),
    }
}

/// The form with -er or -est of a short adjective or adverb.
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
    if let Some(form) = irregular_form(wordnet, base, ending) {
        return Some(form);
    }
    let groups = base.split(|c| !"aeiouy".contains(c)).filter(|vowels| !vowels.is_empty()).count();
    let syllables = groups - usize::from(base.ends_with('e') && groups > 1 && !base.ends_with("le"));
    match consonant_y(base) {
        Some(stem) if syllables <= 2 => Some(format!("{stem}i{ending}")),
        Some(_) => None,
        None if syllables > 1 || base.ends_with("ed") || base.ends_with("ing") => None,
        // The usual words that double a consonant (bigger) are all in the list of irregular forms.
        None if with_doubled_consonant(base).is_some() => None,
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
    fn interpretations_of_words() {
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

    /// Holds for the whole lexicon.
    #[test]
    fn every_inflected_form_has_an_analysis() {
        let wordnet = WordNet::embedded();
        let mut seen = 0;
        for base in wordnet.words() {
            for pos in Pos::ALL.into_iter().filter(|&pos| wordnet.has(base, pos)) {
                for &form in forms(pos) {
                    let Some(word) = inflect(wordnet, base, pos, form).filter(|word| word != base) else { continue };
                    let past = inflect(wordnet, base, pos, Form::Past);
                    let found =
                        if form == Form::Participle && past.as_ref() == Some(&word) { Form::Past } else { form };
                    let wanted = Analysis { base: base.to_owned(), pos, form: found };
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
