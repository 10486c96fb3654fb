//! Pages in Markdown, and their fenced blocks.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A page.
pub struct Page {
    /// Its path within the checkout.
    pub name: String,
    pub path: PathBuf,
    pub text: String,
    pub blocks: Vec<Block>,
}

/// A fenced block.
pub struct Block {
    page: String,
    line: usize,
    pub language: String,
    /// What stands behind the language.
    pub todo: String,
    /// Its lines, without the indentation of the fence.
    pub text: String,
}

/// README.md and the guides.
pub fn pages() -> Vec<Page> {
    let folder = "packaging/guides";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guides = fs::read_dir(root.join(folder)).expect("the guides");
    let mut names: Vec<_> = guides
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| format!("{folder}/{}", name.to_string_lossy()))
        .collect();
    assert!(names.len() > 5, "the guides are not where they were");
    names.push("README.md".to_owned());
    names.sort();
    names.iter().map(|name| Page::read(name)).collect()
}

impl Page {
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = fs::read_to_string(&path).expect("a page");
        Self {
            name: name.to_owned(),
            blocks: blocks(name, &text),
            path,
            text,
        }
    }

    /// The blocks in one language.
    pub fn of<'a>(&'a self, language: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks
            .iter()
            .filter(move |block| block.language == language)
    }

    /// Where links lead.
    pub fn links(&self) -> Vec<String> {
        let behind = self.text.split("](").skip(1);
        let ends = behind.filter_map(|rest| rest.split_once(')'));
        ends.map(|(link, _)| link.to_owned()).collect()
    }

    /// The names in the first column of the table below a heading; a cell may have several.
    pub fn first_column(&self, heading: &str) -> Vec<String> {
        let start = format!("\n## {heading}\n");
        let at = self.text.find(&start).expect("the heading") + start.len();
        let section = self.text[at..].split("\n## ").next().unwrap_or_default();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| "));
        let cells = cells.filter_map(|line| line.split('|').next());
        cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .map(str::to_owned)
            .collect()
    }
}

impl Block {
    pub fn at(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    pub fn is_run(&self) -> bool {
        self.todo.starts_with("run")
    }

    /// Whether this is one of the words behind the language.
    pub fn says(&self, word: &str) -> bool {
        self.todo.split(' ').any(|it| it == word)
    }
}

/// Code that is no fenced block would escape us.
fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, start)) = lines.next() {
        let Some(info) = start.trim_start().strip_prefix("```") else {
            assert!(
                !start.starts_with("    "),
                "{page}:{line}: code without a fence"
            );
            continue;
        };
        let indent = start.len() - start.trim_start().len();
        let (language, todo) = info.split_once(' ').unwrap_or((info, ""));
        let inner = lines.by_ref().take_while(|(_, line)| line.trim() != "```");
        let inner = inner.map(|(_, line)| format!("{}\n", line.get(indent..).unwrap_or("")));
        blocks.push(Block {
            page: page.to_owned(),
            line,
            language: language.to_owned(),
            todo: todo.to_owned(),
            text: inner.collect(),
        });
    }
    blocks
}
