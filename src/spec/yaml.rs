//! Reads YAML text into a small tree that keeps the place of every value, and whether it was quoted.
//!
//! Aliases and merge keys (`<<`) are resolved. Repeated keys, tags, several documents, and trees that are too deep or too
//! large to be written by a person are refused. What a scalar means is left to [`super::kind`].

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::problem::{Place, Problem};

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub place: Place,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Scalar {
        text: String,
        /// Whether it has no quotes, so that it may be a number, a truth value or null.
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order written. Keys are scalars, and each occurs once.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// An unquoted scalar.
    pub fn plain(text: &str, place: Place) -> Self {
        Self { place, content: Content::Scalar { text: text.to_owned(), plain: true } }
    }

    pub fn list(&self) -> Option<&[Node]> {
        if let Content::List(items) = &self.content { Some(items) } else { None }
    }

    pub fn map(&self) -> Option<&[(Node, Node)]> {
        if let Content::Map(entries) = &self.content { Some(entries) } else { None }
    }

    /// The text of a scalar, quoted or not.
    pub fn text(&self) -> Option<&str> {
        if let Content::Scalar { text, .. } = &self.content { Some(text) } else { None }
    }

    /// The text of a scalar without quotes.
    pub fn plain_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.plain_text(), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    /// How messages name it.
    pub fn described(&self) -> String {
        match &self.content {
            _ if self.is_null() => "empty".into(),
            Content::Scalar { text, plain: true } => format!("`{}`", shortened(text)),
            Content::Scalar { text, plain: false } => format!("\"{}\"", shortened(text)),
            Content::List(items) => {
                let texts: Vec<&str> = items.iter().filter_map(Self::text).collect();
                let short = texts.len() == items.len() && texts.iter().map(|text| text.len() + 2).sum::<usize>() < 40;
                if short { format!("`[{}]`", texts.join(", ")) } else { "a list".into() }
            }
            Content::Map(_) => "a map".into(),
        }
    }

    /// The value as YAML, in one line.
    pub fn flow(&self) -> String {
        match &self.content {
            Content::Scalar { .. } if self.is_null() => "null".to_owned(),
            Content::Scalar { text, plain: true } if is_plain(text) => text.clone(),
            // A JSON text is one of YAML.
            Content::Scalar { text, .. } => serde_json::Value::from(text.as_str()).to_string(),
            Content::List(items) => format!("[{}]", items.iter().map(Self::flow).collect::<Vec<_>>().join(", ")),
            Content::Map(entries) => {
                let entry = |(key, value): &(Self, Self)| format!("{}: {}", key.flow(), value.flow());
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Number of nodes; a long text counts as several.
    fn size(&self) -> usize {
        match &self.content {
            Content::Scalar { text, .. } => 1 + text.len() / 64,
            Content::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Content::Map(entries) => 1 + entries.iter().map(|(k, v)| k.size() + v.size()).sum::<usize>(),
        }
    }
}

/// Whether a text without quotes is the same text inside brackets.
fn is_plain(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '+' | ':' | '@');
    text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '+'))
        && text.chars().all(fits)
        && !matches!(text, "-" | "+")
        && !text.ends_with(':')
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let text = text.lines().next().unwrap_or_default();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Levels of nesting beyond which a file is refused.
const DEEPEST: usize = 32;
/// Nodes, aliases expanded, beyond which a file is refused.
const LARGEST: usize = 2_000_000;
/// Keys of one map beyond which a file is refused: there are about a hundred settings.
const MOST_KEYS: usize = 1000;

/// Reads `text`; None if it is empty. `override_number` is 0 for the file and n for the n-th `--set`. Repeated keys are
/// added to `problems`; text that is not YAML is an error.
pub(super) fn read(text: &str, override_number: usize, problems: &mut Vec<Problem>) -> Result<Option<Node>, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        override_number,
        problems,
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: 0,
        root: None,
    };
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| syntax(&error, text, override_number))?;
        builder.event(event, span)?;
    }
    Ok(builder.root.filter(|root| !root.is_null()))
}

fn syntax(error: &ScanError, text: &str, override_number: usize) -> Problem {
    let marker = error.marker();
    let place = |column| Place::new(override_number, marker.line().max(1), column, 1);
    let line = text.lines().nth(marker.line().saturating_sub(1)).unwrap_or_default();
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    if let Some(tab) = indent.chars().position(|c| c == '\t') {
        return Problem::new(place(tab + 1), "this line is indented with a tab").hint("YAML is indented with spaces");
    }
    if let Some((bracket, line, column)) = unclosed(text, marker.line()) {
        let place = Place::new(override_number, line, column, 1);
        return Problem::new(place, format!("this `{bracket}` is not closed")).hint("close it in this line");
    }
    // The parser's errors have no kind, so its text chooses the hint. Nothing else depends on it.
    let hint = match error.info() {
        info if info.contains("anchor") => "define the anchor `&name` before the alias `*name`",
        info if info.contains("quoted scalar") => "close the quotes",
        info if info.contains("mapping values") => {
            "write one `key: value` per line, and indent keys of one level alike"
        }
        _ => "check indentation, brackets and quotes here and in the line above",
    };
    Problem::new(place(marker.col() + 1), format!("this is not YAML: {}", error.info())).hint(hint)
}

/// The innermost bracket that is still open before line `last`, with its line and column.
fn unclosed(text: &str, last: usize) -> Option<(char, usize, usize)> {
    let mut open = Vec::new();
    for (number, line) in text.lines().enumerate().take(last.saturating_sub(1)) {
        let (mut quote, mut before) = (None, ' ');
        for (column, c) in line.chars().enumerate() {
            match (quote, c) {
                (Some(q), _) if q == c => quote = None,
                (None, '#') if before.is_whitespace() => break,
                (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
                (None, '[' | '{') => open.push((c, number + 1, column + 1)),
                (None, ']' | '}') => drop(open.pop()),
                _ => {}
            }
            before = c;
        }
    }
    open.pop()
}

struct Frame {
    node: Node,
    anchor: usize,
    key: Option<Node>,
}

struct Builder<'p> {
    override_number: usize,
    problems: &'p mut Vec<Problem>,
    stack: Vec<Frame>,
    /// Nodes by anchor number.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let place = self.place(span);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Problem::new(place, "a second document starts here").hint("one sweep per file"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                // These say what a scalar is anyway.
                let is_needless = |suffix: &str| matches!(suffix, "str" | "float" | "int" | "bool");
                if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && is_needless(&tag.suffix))) {
                    let what = format!("tags such as `!{}` are not supported", tag.suffix);
                    return Err(Problem::new(place, what).hint("leave it out"));
                }
                let plain = style == ScalarStyle::Plain;
                self.finish(Node { place, content: Content::Scalar { text: text.into_owned(), plain } }, anchor)?;
            }
            Event::SequenceStart(anchor, _) => self.open(place, Content::List(Vec::new()), anchor)?,
            Event::MappingStart(anchor, _) => self.open(place, Content::Map(Vec::new()), anchor)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Frame { mut node, anchor, .. }) = self.stack.pop() {
                    node.place = node.place.up_to(place);
                    if let Content::Map(entries) = &mut node.content {
                        merge(entries)?;
                    }
                    self.finish(node, anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor) else {
                    return Err(Problem::new(place, "this alias refers to a value that contains it"));
                };
                self.nodes += target.size();
                self.check_size(place)?;
                let node = Node { place, content: target.content.clone() };
                self.finish(node, 0)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// The whole of what is on one line; the first character of what spans several lines.
    fn place(&self, span: Span) -> Place {
        let (start, end) = (span.start, span.end);
        let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Place::new(self.override_number, start.line().max(1), start.col() + 1, length)
    }

    fn open(&mut self, place: Place, content: Content, anchor: usize) -> Result<(), Problem> {
        if self.stack.len() >= DEEPEST {
            return Err(Problem::new(place, format!("more than {DEEPEST} levels of nesting")));
        }
        self.stack.push(Frame { node: Node { place, content }, anchor, key: None });
        Ok(())
    }

    fn check_size(&self, place: Place) -> Result<(), Problem> {
        let is_allowed = self.nodes <= LARGEST;
        if is_allowed { Ok(()) } else { Err(Problem::new(place, "this file is too large for a sweep")) }
    }

    /// Adds a complete node to its parent.
    fn finish(&mut self, mut node: Node, anchor: usize) -> Result<(), Problem> {
        self.nodes += 1;
        // An anchor keeps a copy of its node.
        if anchor > 0 {
            self.nodes += node.size();
        }
        self.check_size(node.place)?;
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut frame.node.content, frame.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Map(_), None) => {
                if node.text().is_none() {
                    return Err(Problem::new(node.place, format!("{} cannot be a key", node.described())));
                }
                frame.key = Some(node);
            }
            (Content::Map(entries), Some(key)) if entries.len() >= MOST_KEYS => {
                return Err(Problem::new(key.place, format!("a map of more than {MOST_KEYS} keys")));
            }
            (Content::Map(entries), Some(key)) => {
                if node.place.is_empty() && node.text() == Some("") {
                    node.place = key.place;
                }
                match entries.iter().find(|(earlier, _)| earlier.text() == key.text()) {
                    Some((earlier, _)) if key.text() != Some("<<") => self.problems.push(repeated(&key, earlier)),
                    _ => entries.push((key, node)),
                }
            }
            (Content::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}

fn repeated(key: &Node, earlier: &Node) -> Problem {
    Problem::new(key.place, format!("`{}` is given twice", key.text().unwrap_or_default()))
        .hint(format!("first in line {}", earlier.place.line()))
}

/// Replaces `<<` by the entries of the maps that it names. Keys beside it take precedence.
fn merge(entries: &mut Vec<(Node, Node)>) -> Result<(), Problem> {
    let is_merge = |key: &Node| key.plain_text() == Some("<<");
    let merged: Vec<Node> = entries.iter().filter(|(key, _)| is_merge(key)).map(|(_, value)| value.clone()).collect();
    entries.retain(|(key, _)| !is_merge(key));
    for value in merged {
        let sources = match value.content {
            Content::List(items) => items,
            _ => vec![value],
        };
        for source in sources {
            let Some(inherited) = source.map() else {
                return Err(Problem::new(source.place, "`<<` takes a map or a list of maps"));
            };
            for (key, value) in inherited {
                if entries.iter().all(|(own, _)| own.text() != key.text()) {
                    entries.push((key.clone(), value.clone()));
                }
            }
        }
    }
    Ok(())
}
