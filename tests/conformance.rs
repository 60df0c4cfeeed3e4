//! Which normative statements of MQTT have a test: the lists in `mqtt/conformance`, the `Conforms`
//! lines of the tests, and the page that shows both.

mod claim;
mod page;
mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use claim::Claim;
use statement::{List, Reference};

const PAGE: &str = "CONFORMANCE.md";
/// Statements that are still without a test. The file goes when it is empty.
const PENDING: &str = "mqtt/conformance/pending.txt";
/// Statements that no test can show, each with its reason.
const UNTESTABLE: &str = "mqtt/conformance/untestable.txt";

/// All that the workspace says of statements.
struct Survey {
    lists: Vec<List>,
    claims: Vec<Claim>,
    pending: BTreeSet<Reference>,
    untestable: BTreeMap<Reference, String>,
    /// What is written wrongly in the tests.
    errors: Vec<String>,
}

impl Survey {
    fn read() -> Self {
        let mut survey = Self {
            lists: statement::lists(),
            claims: Vec::new(),
            pending: statement::pending(PENDING),
            untestable: statement::untestable(UNTESTABLE),
            errors: Vec::new(),
        };
        let sources = super::sources();
        // These files are about the lines, so they have wrong ones.
        let sources = sources
            .iter()
            .filter(|it| !it.path.starts_with("tests/conformance"));
        for source in sources {
            survey.add(claim::in_rust(&source.path, &source.text));
        }
        let folder = tests::workspace().join("mqtt/vectors");
        super::visit(&folder, &mut |path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = fs::read_to_string(path).unwrap();
            survey.add(claim::in_vectors(&format!("mqtt/vectors/{name}"), &text));
        });
        let place = |it: &Claim| (it.file.clone(), it.line);
        survey.claims.sort_by_key(place);
        survey
    }

    fn add(&mut self, (claims, errors): (Vec<Claim>, Vec<String>)) {
        let unknown = claims.iter().filter(|it| !self.knows(&it.statement));
        let unknown: Vec<_> = unknown
            .map(|it| format!("{}:{}: there is no {}", it.file, it.line, it.statement))
            .collect();
        self.errors.extend(unknown);
        self.claims.extend(claims);
        self.errors.extend(errors);
    }

    fn knows(&self, statement: &Reference) -> bool {
        self.lists
            .iter()
            .any(|list| list.statements().any(|it| it.reference == *statement))
    }

    fn claims_of(&self, statement: &Reference) -> impl Iterator<Item = &Claim> {
        self.claims
            .iter()
            .filter(move |it| it.statement == *statement)
    }

    fn is_tested(&self, statement: &Reference) -> bool {
        self.claims_of(statement).next().is_some()
    }

    /// The statements that bind a server.
    fn duties(&self) -> impl Iterator<Item = &Reference> {
        let statements = self.lists.iter().flat_map(List::statements);
        statements
            .filter(|it| it.binds_server())
            .map(|it| &it.reference)
    }

    /// What is wrong with a list of exceptions.
    fn wrong_exceptions<'a>(
        &'a self,
        file: &'a str,
        exceptions: impl IntoIterator<Item = &'a Reference>,
    ) -> impl Iterator<Item = String> {
        let duties: BTreeSet<_> = self.duties().collect();
        exceptions.into_iter().filter_map(move |it| {
            let why = if !duties.contains(it) {
                "is no statement that binds a server"
            } else if self.is_tested(it) {
                "has a test, so it does not belong here"
            } else {
                return None;
            };
            Some(format!("{file}: {it} {why}"))
        })
    }
}

#[test]
fn tests_name_statements_that_exist() {
    let survey = Survey::read();
    super::assert_none("wrong lines", &survey.errors);
}

#[test]
fn statements_that_bind_a_server_have_a_test() {
    let survey = Survey::read();
    let excepted =
        |it: &&Reference| survey.pending.contains(*it) || survey.untestable.contains_key(*it);
    let open = survey.duties().filter(|it| !survey.is_tested(it));
    let open: Vec<_> = open
        .filter(|it| !excepted(it))
        .map(Reference::to_string)
        .collect();
    super::assert_none("statements without a test", &open);
}

#[test]
fn exceptions_are_needed() {
    let survey = Survey::read();
    let pending = survey.wrong_exceptions(PENDING, &survey.pending);
    let untestable = survey.wrong_exceptions(UNTESTABLE, survey.untestable.keys());
    let mut wrong: Vec<_> = pending.chain(untestable).collect();
    let twice = survey.pending.iter();
    let twice = twice.filter(|it| survey.untestable.contains_key(*it));
    wrong.extend(twice.map(|it| format!("{it} is pending and untestable")));
    let is_empty = survey.pending.is_empty() && tests::workspace().join(PENDING).exists();
    wrong.extend(is_empty.then(|| format!("{PENDING} is empty: delete it")));
    super::assert_none("exceptions", &wrong);
}

#[test]
fn page_is_up_to_date() {
    let page = page::render(&Survey::read());
    let path = tests::workspace().join(PAGE);
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "{PAGE} is out of date; write it with: TIDEGATE_BLESS=1 cargo test -p tests --test tidy \
         conformance"
    );
}
