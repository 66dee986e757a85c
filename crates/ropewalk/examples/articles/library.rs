//! The articles in SQLite: tables, and what is asked of them, on the database's threads. A part of `cargo run --example articles`; nothing of it is
//! seen but the pages.

use std::path::{Path, PathBuf};

use ropewalk::Reactor;
use ropewalk::reactor::Deferred;
use ropewalk::store::rusqlite::{self, Connection, OptionalExtension, Row, params};
use ropewalk::store::{Database, DatabaseError, Schema};
use ropewalk::web::SqliteSessions;

const TABLES: &str = "CREATE TABLE person (name TEXT PRIMARY KEY, secret TEXT NOT NULL) STRICT;
    CREATE TABLE article (id INTEGER PRIMARY KEY, title TEXT NOT NULL, text TEXT NOT NULL, author TEXT NOT NULL, picture TEXT,
        changed_s INTEGER NOT NULL) STRICT;
    CREATE TABLE tag (article INTEGER NOT NULL REFERENCES article ON DELETE CASCADE, name TEXT NOT NULL,
        PRIMARY KEY (article, name)) STRICT, WITHOUT ROWID;
    CREATE INDEX tag_name ON tag (name)";
const SCHEMA: Schema = Schema { id: 0x4152_5449, migrations: &[SqliteSessions::TABLE, TABLES] };
/// Articles on one page.
pub(crate) const PER_PAGE: usize = 5;
const SELECT: &str = "SELECT id, title, text, author, picture, changed_s,
    coalesce((SELECT group_concat(name, ' ') FROM tag WHERE article = id), '') FROM article";

/// All articles, and where their pictures are.
#[derive(Clone)]
pub(crate) struct Library {
    pub(crate) database: Database,
    pub(crate) folder: PathBuf,
}

#[derive(Clone, Default)]
pub(crate) struct Article {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) author: String,
    pub(crate) picture: Option<String>,
    pub(crate) changed_s: i64,
    /// With spaces between them.
    pub(crate) tags: String,
}

impl Article {
    fn read(row: &Row<'_>) -> rusqlite::Result<Article> {
        let (id, title, text, author) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let (picture, changed_s, tags) = (row.get(4)?, row.get(5)?, row.get(6)?);
        Ok(Article { id, title, text, author, picture, changed_s, tags })
    }
}

impl Library {
    pub(crate) fn open(reactor: &Reactor, folder: &Path) -> Result<Library, DatabaseError> {
        let database = Database::open(reactor, &folder.join("articles.db"), SCHEMA)?;
        Ok(Library { database, folder: folder.to_owned() })
    }

    /// A page of those that fit, and whether there are more.
    pub(crate) fn list(&self, search: String, tag: String, page: usize) -> Deferred<(Vec<Article>, bool)> {
        self.database.read(move |db| {
            // What is searched for is text, and no pattern.
            let escaped = search.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            let fits = "(title LIKE ?1 ESCAPE '\\' OR text LIKE ?1 ESCAPE '\\')
                AND (?2 = '' OR EXISTS (SELECT 1 FROM tag WHERE article = id AND name = ?2))";
            let order = "ORDER BY changed_s DESC, id DESC LIMIT ?3 OFFSET ?4";
            let mut select = db.prepare_cached(&format!("{SELECT} WHERE {fits} {order}"))?;
            let skipped = page.saturating_sub(1).saturating_mul(PER_PAGE).min(1_000_000);
            let wanted = params![format!("%{escaped}%"), tag, PER_PAGE as i64 + 1, skipped as i64];
            let mut found = select.query_map(wanted, Article::read)?.collect::<rusqlite::Result<Vec<_>>>()?;
            let more = found.len() > PER_PAGE;
            found.truncate(PER_PAGE);
            Ok::<_, rusqlite::Error>((found, more))
        })
    }

    pub(crate) fn article(&self, id: i64) -> Deferred<Option<Article>> {
        let select = format!("{SELECT} WHERE id = ?1");
        self.database.read(move |db| db.query_row(&select, [id], Article::read).optional())
    }

    /// Keeps a new one, whose id is 0, or a changed one; answers its id.
    pub(crate) fn keep(&self, article: Article) -> Deferred<i64> {
        self.database.write(move |db: &Connection| {
            let id = (article.id != 0).then_some(article.id);
            let Article { title, text, author, picture, changed_s, .. } = &article;
            db.prepare_cached("INSERT OR REPLACE INTO article VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![id, title, text, author, picture, changed_s])?;
            let id = id.unwrap_or_else(|| db.last_insert_rowid());
            db.execute("DELETE FROM tag WHERE article = ?1", [id])?;
            for tag in article.tags.split_whitespace() {
                db.execute("INSERT OR IGNORE INTO tag VALUES (?1, ?2)", params![id, tag])?;
            }
            Ok::<_, rusqlite::Error>(id)
        })
    }

    pub(crate) fn delete(&self, id: i64) -> Deferred<usize> {
        self.database.write(move |db| db.execute("DELETE FROM article WHERE id = ?1", [id]))
    }
}
