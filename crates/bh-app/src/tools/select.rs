//! Which tools fit a task: BM25 over what servers tell of them, without any service outside, the same for the same question
//! (decision 31). How much is told of each is what a budget of LLM tokens has room for.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bm25::{EmbedderBuilder, Scorer};
use rust_stemmers::{Algorithm, Stemmer};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::ToolStory;
use super::view::ToolView;
use crate::ports::{Tokenizer as CountsTokens, ToolRow};
use crate::snapshot::Tenant;

/// Tools of an answer where nobody says how many.
const TOOLS_DEFAULT: usize = 5;
/// The most that can be asked for.
const TOOLS_MAX: usize = 100;
/// LLM tokens of an answer where nobody says how many.
const TOKENS_DEFAULT: u64 = 5_000;
const TOKENS_MIN: u64 = 100;
const TOKENS_MAX: u64 = 100_000;
/// Characters of a question.
const QUERY_CHARS_MAX: usize = 1_000;
const CATEGORIES_MAX: usize = 20;
/// Of a description, and of the names of parameters, so much is searched.
const SEARCHED_BYTES_MAX: usize = 2_048;
/// Whose tokens are counted: the newest family with a public tokenizer stands for all.
const COUNTED_AS: &str = "gpt-4o";
/// Bytes of a token where no tokenizer is known.
const TOKEN_BYTES: u64 = 4;
/// Words that say nothing of what a tool does.
const STOP_WORDS: [&str; 40] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "for", "from", "give", "have", "how", "i",
    "if", "in", "into", "is", "it", "me", "my", "of", "on", "or", "please", "should", "so", "that", "the",
    "their", "this", "to", "want", "we", "what", "with", "you", "your",
];

/// A question.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// What the tools are for.
    pub query: String,
    /// So many at most.
    pub max_tools: Option<usize>,
    /// LLM tokens of what is told of them.
    pub token_budget: Option<u64>,
    /// Of these kinds alone; of any where there are none.
    pub categories: Vec<String>,
}

/// The tools that fit, the best first.
#[derive(Clone, Debug)]
pub struct Selected {
    /// As much of each as there was room for.
    pub tools: Vec<ToolView>,
    /// LLM tokens of them.
    pub tokens: u64,
    /// LLM tokens there might have been.
    pub budget: u64,
    /// How many tools were looked at.
    pub looked_at: usize,
    /// The kinds of the tools that fit.
    pub categories: Vec<String>,
}

impl ToolStory {
    /// Chooses the tools that fit a task.
    ///
    /// # Errors
    /// `invalid_request`; `tool_busy`; those of the store.
    pub async fn select(&self, tenant: &Tenant, asked: &Selection) -> Result<Selected, Refusal> {
        let (max, budget) = checked(asked)?;
        let turn = self.0.under_way.begin(tenant.nid)?;
        let tools = self.tools(tenant).await?;
        let of_kind =
            |tool: &&ToolRow| asked.categories.is_empty() || asked.categories.contains(&tool.category);
        let tools: Vec<ToolView> = tools.iter().filter(of_kind).map(ToolView::of).collect();
        let (query, tokenizer) = (asked.query.clone(), Arc::clone(&self.parts().tokenizer));
        // On a thread of its own: a tenant may have many tools, and each of them may have much to say.
        let chosen = tokio::task::spawn_blocking(move || {
            // Whoever asked may be gone before it ends.
            let _turn = turn;
            chosen(&tools, &query, (max, budget), &*tokenizer)
        });
        chosen.await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "tools were not chosen");
            Refusal::new(Code::Internal, "The tools could not be chosen")
        })
    }
}

fn chosen(
    tools: &[ToolView],
    query: &str,
    (max, budget): (usize, u64),
    tokenizer: &dyn CountsTokens,
) -> Selected {
    let mut selected =
        Selected { tools: Vec::new(), tokens: 0, budget, looked_at: tools.len(), categories: Vec::new() };
    for (tool, score) in ranked(tools, query).into_iter().take(max) {
        let left = budget.saturating_sub(selected.tokens);
        let Some(told) = fitting(tool, score, left, tokenizer) else { break };
        selected.tokens += told.token_cost.unwrap_or(0);
        if !selected.categories.contains(&told.category) {
            selected.categories.push(told.category.clone());
        }
        selected.tools.push(told);
    }
    selected
}

fn checked(asked: &Selection) -> Result<(usize, u64), Refusal> {
    let wrong = |field: &'static str, problem: String| {
        Err(Refusal::new(Code::InvalidRequest, format!("`{field}` {problem}")).with("field", field))
    };
    let Selection { query, max_tools, token_budget, categories } = asked;
    if query.trim().is_empty() || query.chars().count() > QUERY_CHARS_MAX {
        return wrong(
            "query",
            format!("must say in 1 to {QUERY_CHARS_MAX} characters what the tools are for"),
        );
    }
    check_bounds(*max_tools, *token_budget)?;
    if categories.len() > CATEGORIES_MAX {
        return wrong("categories", format!("must be at most {CATEGORIES_MAX}"));
    }
    for name in categories {
        bh_domain::tools::category(name).map_err(|error| super::misnamed(&error))?;
    }
    Ok((max_tools.unwrap_or(TOOLS_DEFAULT), token_budget.unwrap_or(TOKENS_DEFAULT)))
}

/// Checks how many tools, and how many tokens of them, are asked for.
///
/// # Errors
/// `invalid_request`.
pub fn check_bounds(max_tools: Option<usize>, token_budget: Option<u64>) -> Result<(), Refusal> {
    let wrong = |field: &'static str, wanted: String| {
        Err(Refusal::new(Code::InvalidRequest, format!("`{field}` must be {wanted}")).with("field", field))
    };
    if max_tools.is_some_and(|max| !(1..=TOOLS_MAX).contains(&max)) {
        return wrong("maxTools", format!("1 to {TOOLS_MAX}"));
    }
    if token_budget.is_some_and(|budget| !(TOKENS_MIN..=TOKENS_MAX).contains(&budget)) {
        return wrong("tokenBudget", format!("{TOKENS_MIN} to {TOKENS_MAX}"));
    }
    Ok(())
}

/// Tools with a word of the question, the best first; those that fit as well as each other in order of their ids.
fn ranked<'t>(tools: &'t [ToolView], query: &str) -> Vec<(&'t ToolView, f64)> {
    let texts: Vec<String> = tools.iter().map(text).collect();
    let corpus: Vec<&str> = texts.iter().map(String::as_str).collect();
    let words = Words(Stemmer::create(Algorithm::English));
    let embedder = EmbedderBuilder::<u64, Words>::with_tokenizer_and_fit_to_corpus(words, &corpus).build();
    let mut scorer = Scorer::<usize, u64>::new();
    for (number, text) in texts.iter().enumerate() {
        scorer.upsert(&number, embedder.embed(text));
    }
    let mut asked = embedder.embed(query);
    let mut known = HashSet::new();
    asked.0.retain(|word| known.insert(word.index));
    let mut matches = scorer.matches(&asked);
    // Tools stand in order of their ids.
    matches.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    let best = matches.first().map_or(1.0, |best| f64::from(best.score));
    let found = |number: usize| tools.get(number);
    matches.iter().filter_map(|of| Some((found(of.id)?, f64::from(of.score) / best))).collect()
}

/// What is searched: a tool's name counts twice.
fn text(tool: &ToolView) -> String {
    /// What is read of a schema.
    #[derive(Default, Deserialize)]
    struct Named {
        #[serde(default)]
        properties: BTreeMap<String, IgnoredAny>,
    }
    let schema = tool.parameters.as_ref().and_then(|schema| serde_json::from_str::<Named>(schema.get()).ok());
    let parameters = schema.unwrap_or_default().properties.into_keys().collect::<Vec<_>>().join(" ");
    let ToolView { name, description, integration, category, .. } = tool;
    let (description, parameters) = (searched(description), searched(&parameters));
    format!("{name} {name} {integration} {category} {description} {parameters}")
}

/// As much of a text as is searched.
fn searched(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SEARCHED_BYTES_MAX)).unwrap_or_default()
}

/// Splits where a word of a program's does: `createPull_request2` is four words.
struct Words(Stemmer);

impl bm25::Tokenizer for Words {
    fn tokenize(&self, input_text: &str) -> Vec<String> {
        let (mut words, mut word, mut before) = (Vec::new(), String::new(), ' ');
        for c in input_text.chars().chain([' ']) {
            let begins = (before.is_lowercase() && c.is_uppercase()) || before.is_numeric() != c.is_numeric();
            if (begins || !c.is_alphanumeric()) && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            if c.is_alphanumeric() {
                word.extend(c.to_lowercase());
            }
            before = c;
        }
        words.retain(|word| !STOP_WORDS.contains(&word.as_str()));
        words.iter().map(|word| self.0.stem(word).into_owned()).collect()
    }
}

/// As much of a tool as so many tokens have room for; `None` when not even its name.
fn fitting(tool: &ToolView, score: f64, left: u64, tokenizer: &dyn CountsTokens) -> Option<ToolView> {
    // Of what an id may have, only this means something in a path.
    let load_url = Some(format!("/api/v1/tools/{}/schema", tool.id.replace('/', "%2F")));
    // What nobody needs to know a difference of is not told.
    let score = Some((score * 1_000.0).round() / 1_000.0);
    (1..=3).find_map(|tier| {
        let (text, told) = match tier {
            1 => (
                json!({"name": tool.id, "description": tool.description, "parameters": tool.parameters}),
                ToolView { load_url: None, ..tool.clone() },
            ),
            2 => (
                json!({"name": tool.id, "description": tool.description}),
                ToolView { parameters: None, load_url: load_url.clone(), ..tool.clone() },
            ),
            _ => (
                json!({ "name": tool.id }),
                ToolView {
                    parameters: None,
                    description: String::new(),
                    load_url: load_url.clone(),
                    ..tool.clone()
                },
            ),
        };
        let text = text.to_string();
        let cost = tokenizer.count(COUNTED_AS, &text).unwrap_or(text.len() as u64 / TOKEN_BYTES + 1);
        (cost <= left).then_some(ToolView { score, tier: Some(tier), token_cost: Some(cost), ..told })
    })
}

#[cfg(test)]
mod tests {
    use bm25::Tokenizer as _;

    use super::*;

    struct Four;

    impl CountsTokens for Four {
        fn count(&self, _: &str, _: &str) -> Option<u64> {
            None
        }
    }

    fn tool(server: &str, name: &str, description: &str) -> ToolView {
        let parameter = if server == "github" { "repository" } else { "recipient" };
        let definition = json!({
            "name": name, "description": description,
            "inputSchema": {"type": "object", "properties": {parameter: {"type": "string"}}},
        });
        ToolView::of(&ToolRow {
            server: server.to_owned(),
            name: name.to_owned(),
            category: "code".to_owned(),
            definition: definition.to_string(),
        })
    }

    #[test]
    fn words_are_split_as_programs_write_them_and_stemmed() {
        let words = Words(Stemmer::create(Algorithm::English));
        let wanted = ["creat", "pull", "request", "2", "file"];
        assert_eq!(words.tokenize("createPull_request2 of the Files!"), wanted);
    }

    #[test]
    fn the_tool_that_does_what_is_asked_is_the_first_and_what_fits_nothing_is_left_out() {
        let tools = [
            tool("github", "createIssue", "Opens an issue in a repository"),
            tool("github", "createPullRequest", "Proposes changes to a repository"),
            tool("mail", "send", "Sends an e-mail to somebody"),
        ];
        let names = |query| -> Vec<String> {
            ranked(&tools, query).into_iter().map(|(tool, _)| tool.id.clone()).collect()
        };
        assert_eq!(
            names("create a pull request on GitHub"),
            ["github.createPullRequest", "github.createIssue"]
        );
        assert_eq!(names("email somebody")[0], "mail.send");
        assert!(names("brew tea").is_empty());
        assert_eq!(
            names("repositories"),
            ["github.createIssue", "github.createPullRequest"],
            "in order of ids"
        );
    }

    #[test]
    fn where_the_rest_is_told_is_a_path_whatever_the_name_has() {
        let told = fitting(&tool("disk", "files/read", "Reads"), 1.0, 30, &Four).unwrap();
        assert_eq!(told.load_url.as_deref(), Some("/api/v1/tools/disk.files%2Fread/schema"));
    }

    #[test]
    fn as_much_is_told_as_there_is_room_for() {
        let tool = tool("github", "createIssue", "Opens an issue in a repository");
        let tier = |left| fitting(&tool, 1.0, left, &Four).map(|told| (told.tier, told.parameters.is_some()));
        assert_eq!(tier(1_000), Some((Some(1), true)));
        assert_eq!(tier(30), Some((Some(2), false)));
        assert_eq!(tier(12), Some((Some(3), false)));
        assert_eq!(tier(5), None);
    }
}
