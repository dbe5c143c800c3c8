//! Lists of English words by their role: protected words, stop words, and the classes that `grammar` uses.

/// Whether `word` is in a list of words that are separated by spaces.
pub(super) fn is_one_of(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// Whether deleting or replacing the word would reverse a statement: `not`, `never`, `isn't`, `isnt`, `hardly`, ...
pub(super) fn is_negation(word: &str) -> bool {
    let word = lower(word);
    word.split('-').any(|part| is_one_of(NEGATIONS, part) || part.ends_with("n't"))
}

pub(super) fn is_number_word(word: &str) -> bool {
    lower(word).split('-').any(|part| is_one_of(NUMBERS, part))
}

/// Whether a word carries grammar rather than meaning. `word` is in lower case.
pub(super) fn is_stop_word(word: &str) -> bool {
    [DETERMINERS, SUBJECTS, OBJECTS, PREPOSITIONS, BE, HAVE, MODALS, INTENSIFIERS, ADVERBS, GET, OTHERS]
        .iter()
        .any(|class| is_one_of(class, word))
}

/// Lower case, with plain apostrophes.
pub(super) fn lower(word: &str) -> String {
    word.to_lowercase().replace('’', "'")
}

const NEGATIONS: &str = "not no never nor neither none nothing nobody nowhere without hardly scarcely barely rarely seldom cannot \
    nope nah nay dont doesnt didnt isnt arent wasnt werent wont wouldnt cant couldnt shouldnt hasnt havent hadnt \
    aint mustnt neednt";

const NUMBERS: &str = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen \
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand \
    thousands million millions billion billions dozen dozens first second third once twice half";

/// Vulgar synonyms of common words. They are never inserted into a text.
pub(super) const VULGAR: &str = "fuck screw bang bonk hump eff shit piss crap cunt tit dyke fag nigger";

pub(super) const DETERMINERS: &str = "a an the these those my your his her its our their some any every each another which whose what many several \
    few both such ur no";
pub(super) const SUBJECTS: &str = "i you he she we they who u";
pub(super) const OBJECTS: &str = "me him them us it myself yourself himself herself";
pub(super) const PREPOSITIONS: &str = "of in on at for with from by about into over after before during between through against under above below \
    near behind beyond per via toward towards upon within since until till like than despite except besides \
    without";
pub(super) const BE: &str =
    "am is are was were be been being im isn't wasn't aren't weren't isnt arent wasnt werent aint ain't";
pub(super) const HAVE: &str = "have has had having haven't hasn't hadn't haven hasn";
/// Verbs that a predicate follows, like `be`.
pub(super) const LINKING: &str = "get gets got getting gotten feel feels felt feeling look looks looked seem seems \
    seemed sound sounds become becomes became stay stays stayed";
pub(super) const MODALS: &str = "to will would can could should may might must shall do does did let's please don't doesn't didn't can't \
    won't wouldn't couldn't shouldn't cannot gonna wanna gotta dont didnt cant";
pub(super) const INTENSIFIERS: &str = "very so too really quite pretty more most less least as how super";
/// Adverbs that may stand between a word and the word that it governs.
pub(super) const ADVERBS: &str = "just also always still even already only ever all now then here there again soon almost often actually \
    definitely totally maybe perhaps probably";
const GET: &str = "get gets got getting gotten";
const OTHERS: &str = "and or but if because while although though that when where why whether however yet hence thus therefore \
    whom everyone everybody everything someone somebody something anyone anybody anything other others own same \
    much lot lots doing done up down out off away back well yes yeah yep ok okay oh hey hi hello wow haha lol \
    lmao thx thanks please go goes going went gone mine yours hers ours theirs itself themselves ourselves am pm \
    mr mrs ms dr etc rt via today tomorrow yesterday tonight right kind sort way one ones damn dude omg wtf god \
    jesus used able ago around people this";
