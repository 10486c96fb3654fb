//! Every bound: value, unit, reason.
//!
//! A loop, buffer, queue or wait whose end a stranger could move has its bound here. Bounds that
//! an operator may want to move are keys of the configuration; their defaults are here too.

use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Largest message, in bytes, that a door takes (`limits.max_message_bytes`). RFC 7489 section 8
/// asks for 10 MB at least; the largest attachments seen are 1.5 MB.
pub const MAX_MESSAGE: usize = 20 * MIB;
/// What is kept of an oversized message whose other recipients get it: enough to see who sent what.
pub const OVERSIZE_HEAD: usize = 64 * KIB;
/// Bytes of messages in memory on the way into the spool, all sessions together.
pub const IN_FLIGHT: usize = 256 * MIB;
/// Recipients of ours in one message. RFC 5321 section 4.5.3.1.8 asks for 100; Postfix allows 1,000.
pub const MAX_RECIPIENTS: usize = 1_000;
/// Recipients that the log line of a mail names; it always tells how many there are.
pub const LOGGED_RECIPIENTS: usize = 5;
/// Characters of one address that are kept (RFC 5321 section 4.5.3.1.3 allows 256 octets).
pub const MAX_ADDRESS: usize = 1_024;
/// Authentication-Results fields kept of one message, and bytes of each.
pub const MAX_AUTH_RESULTS: usize = 8;
/// Bytes kept of one Authentication-Results field.
pub const MAX_AUTH_RESULTS_LEN: usize = 4 * KIB;

/// Milter connections at a time, per listener (`milter.max_connections`); above Postfix's default
/// process limit of 100 with room for several instances.
pub const MAX_CONNECTIONS: usize = 500;
/// Idle milter connections end after this. Above the 300 s of an SMTP session, far above 600 s.
pub const MILTER_IDLE: Duration = Duration::from_secs(7_210);
/// Bytes of a milter frame that holds a part of a message. Postfix sends a header field whole, up to
/// its `header_size_limit` of 102,400; pieces of a body have 65,535.
pub const MAX_FRAME: usize = 256 * KIB;
/// Bytes of every other milter frame: addresses and macros, which an MTA keeps to lines of 2,048.
pub const MAX_COMMAND: usize = 32 * KIB;
/// Strings in one of those, each of which costs more memory than its bytes. MTAs have about 60
/// macros, all stages together.
pub const MAX_COMMAND_STRINGS: usize = 512;
/// How long a milter frame may take from its first byte to its last, and a new connection until its
/// first frame is there. Within a frame an MTA waits for nobody.
pub const FRAME: Duration = Duration::from_secs(30);
/// Pause after a failed `accept()`, so that exhausted descriptors do not spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long SIGTERM waits for open transactions.
pub const DRAIN: Duration = Duration::from_secs(25);
/// An answer at the end of a message takes longer than this: the MTA's timer is set back.
pub const PROGRESS: Duration = Duration::from_secs(10);

/// Client networks (/24 or /48) whose rate of mails or lines is remembered, and that are not idle;
/// those that come late share one. A hundred bytes each.
pub const RATE_NETWORKS: usize = 10_000;
/// How often those are looked through for idle ones at most.
pub const RATE_SWEEP: Duration = Duration::from_secs(1);
/// Lines a minute, and at once, about mail of one client network that was not taken.
pub const LOG_PER_NETWORK: u32 = 600;
/// The same of all networks together.
pub const LOG_OVERALL: u32 = 6_000;

/// Bytes of spooled mail, parked included (`limits.max_spool_bytes`).
pub const MAX_SPOOL: u64 = 1 << 30;
/// Free bytes of the disk below which mail of ours waits outside (`limits.min_free_bytes`).
pub const MIN_FREE: u64 = 256 << 20;
/// Entries of the spool, parked included.
pub const MAX_SPOOL_ENTRIES: u64 = 100_000;
/// Share of the spool, in bytes and in entries, one part in this many, that parked mail of one
/// network (/24 or /48) may hold.
pub const PARKED_SHARE: u64 = 10;
/// Share of the spool, likewise, that parked mail of all networks together has: the more the others
/// hold, the less is left for one. A network that holds nothing is let in whatever they hold.
pub const PARKED_PART: u64 = 2;
/// Parked entries that one commit lets wait again, or drops.
pub const PARKED_CHUNK: usize = 1_000;
/// Messages waiting for the spool's writer; beyond, the sender hears 451.
pub const SPOOL_QUEUE: usize = 1_024;
/// Bytes of a message that goes into the spool's file, and comes out, in one piece.
pub const SPOOL_WHOLE: usize = MIB;
/// Messages in one commit of the spool.
pub const SPOOL_BATCH: usize = 128;
/// Entries that the pipeline claims at once.
pub const CLAIM_ENTRIES: usize = 128;
/// Bytes of raw mail that the pipeline claims at once; one larger entry is claimed alone.
pub const CLAIM_BYTES: usize = 8 * MIB;
/// Tries of an entry that ended the program, or its parser, before it is left as `crashed`, whatever
/// version comes.
pub const MAX_ATTEMPTS: u32 = 2;
/// How long the program has run before it tries an entry again at which it ended. Ends that follow
/// one another closely have another cause, and must not add up to [`MAX_ATTEMPTS`]; where it is the
/// entry, the doors are open meanwhile, and systemd's limit of starts is not reached.
pub const RETRY_TRIED: Duration = Duration::from_secs(5);
/// How long `serve` waits for another process to give up the data directory. A command that works
/// in its place does so after a batch; where it is another daemon, systemd's limit of starts is not
/// reached.
pub const LOCK_WAIT: Duration = Duration::from_secs(20);
/// Pause between two looks at the lock, and at what waits in the spool.
pub const LOCK_LOOK: Duration = Duration::from_millis(50);
/// First and longest pause after the report store failed.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`RETRY_FIRST`].
pub const RETRY_LONGEST: Duration = Duration::from_mins(1);

/// MIME parts of one mail.
pub const MAX_PARTS: usize = 1_000;
/// Depth of message/rfc822 within message/rfc822, and of multiparts.
pub const MAX_MIME_DEPTH: usize = 10;
/// Bytes of one header field with its continuations.
pub const MAX_HEADER: usize = 64 * KIB;
/// The same of Content-Type and its like, in which RFC 2231 continuations cost the square of it.
pub const MAX_MIME_FIELD: usize = 8 * KIB;
/// How often the bytes of a mail are looked through for boundaries; each multipart within another
/// does so once more, and attachments lie two or three deep at most.
pub const MAX_SEARCHES: usize = 4;
/// The same in bytes for short mails, which may nest as deep as they like.
pub const MAX_SEARCHED: usize = MIB;
/// Header lines of one mail, those of its parts included.
pub const MAX_HEADERS: usize = 10_000;
/// Reports of one mail (`limits.max_documents`); real ones have one.
pub const MAX_DOCUMENTS: usize = 16;
/// Members of one zip file.
pub const MAX_MEMBERS: usize = 100;
/// Headers of members that a zip file may hold, those of zip files within it included: each takes
/// some hundred bytes of memory.
pub const MAX_MEMBER_HEADERS: usize = 2_000;
/// Members of one gzip stream, each of which costs a new inflater even when it is empty. bgzip,
/// which makes most, has one for 64 KiB: 4,096 for [`MAX_INFLATED`].
pub const MAX_GZIP_MEMBERS: usize = 5_000;
/// Containers within containers (gz in gz, zip in gz).
pub const MAX_CONTAINER_DEPTH: usize = 2;
/// Bytes of all that is inflated of one mail, each counted once however often it is read
/// (`limits.max_inflated_bytes`). The largest known report has 900,000 lines, about 40 MB.
pub const MAX_INFLATED: u64 = 256 << 20;
/// A mail shorter than this may not inflate to [`MAX_INFLATED`], but to [`SHORT_RATIO`] times its
/// bytes, or to [`SHORT_INFLATED`]: what is short must cost little.
pub const SHORT_MAIL: usize = 128 * KIB;
/// See [`SHORT_MAIL`]. Real reports come to 40 times their mail.
pub const SHORT_RATIO: u64 = 256;
/// See [`SHORT_MAIL`].
pub const SHORT_INFLATED: u64 = 1 << 20;
/// Bytes inflated by `examine`, which only looks at the head of each document.
pub const EXAMINE_INFLATED: u64 = 64 << 10;
/// Bytes of a mail that is examined where it came in: to the usual report another thread would cost
/// more than the look does, and none so short can keep the others waiting for long ([`SHORT_RATIO`]).
pub const EXAMINE_AT_ONCE: usize = 16 * KIB;
/// Bytes that `examine` holds besides the mail; of larger zip files it cannot tell what they are.
pub const EXAMINE_HELD: usize = 4 * MIB;

/// Bytes of a part or member by which it is judged what it is; a declaration and a comment or two
/// fit before the root.
pub const SNIFF: usize = 4 * KIB;
/// Characters kept of the file name of a part or member; file systems allow 255.
pub const MAX_FILE_NAME: usize = 255;
/// Bytes of a document in which a byte order mark or an XML declaration must show.
pub const XML_PROLOG: usize = KIB;
/// Bytes read at a time from a document, and so what a reader holds of it.
pub const READ_CHUNK: usize = 32 * KIB;
/// Bytes of a line of an mbox that are looked at together; a longer line comes in pieces.
pub const MBOX_PIECE: u64 = 64 << 10;
/// Bytes of one file that `inspect` reads: a bare report is as long as a mail's inflated one.
pub const INSPECT_FILE: usize = 256 * MIB;
/// Rows of one table of `inspect`; a longer run is shown in pieces rather than held in memory.
pub const INSPECT_ROWS: usize = 500;

/// Element depth of an aggregate report, which needs 6; extensions may go deeper.
pub const MAX_XML_DEPTH: usize = 32;
/// Elements, references, comments and stray texts of one report, besides those that its records
/// may have: each costs as much as a hundred bytes of text, and may be as short as four.
pub const MAX_MARKUP: u64 = 250_000;
/// The same for each record, on average; a common one has 30.
pub const MAX_MARKUP_PER_RECORD: u64 = 200;
/// Bytes of one XML token or text.
pub const MAX_TOKEN: usize = 64 * KIB;
/// Bytes of the name of an XML entity, a number included; the longest defined one has 10.
pub const MAX_ENTITY: usize = 16;
/// Records of one report, or policies of a TLS report (`limits.max_records`); a giant one has
/// 60,000.
pub const MAX_RECORDS: u64 = 500_000;
/// `reason`, `dkim` and `spf` entries kept of one record (RFC 9990 section 3.1.3 allows 100).
pub const MAX_PER_RECORD: usize = 100;
/// Characters kept of one text of a reporter.
pub const MAX_TEXT: usize = 1_024;
/// Characters kept of a language tag (RFC 5646 section 4.4.1: every sensible one fits).
pub const MAX_LANG: usize = 35;
/// `error` elements and notes kept of one report.
pub const MAX_NOTES: usize = 100;
/// Bad records listed of one report; more are only counted.
pub const MAX_SKIPPED: usize = 100;
/// First second at which a stranger's report may begin, 2010-01-01: DMARC is from 2012.
pub const EARLIEST_BEGIN: i64 = 1_262_304_000;
/// Seconds that a stranger's report may cover, a leap year. The longest seen covers 97 hours.
pub const MAX_RANGE: i64 = 366 * 86_400;
/// Seconds that a report covers without being odd: a day is usual, and ranges slide.
pub const LONG_RANGE: i64 = 2 * 86_400;
/// Seconds by which a range may end after the report came: days of the reporter's time zone, and
/// clocks that are wrong.
pub const MAX_AHEAD: i64 = 2 * 86_400;
/// Bytes that the entries of one batch hold besides their mails: records kept between the first
/// reading and the store, heads of reports, zip files without their encoding. A document
/// whose records find no room is read a second time; entries that find none wait for the next
/// batch.
pub const BATCH_MEMORY: usize = 2 * MIB;

/// Depth of a TLS report's JSON, which needs 5 (RFC 8460 section 4.4).
pub const MAX_JSON_DEPTH: usize = 16;
/// Values of a TLS report, besides those that its policies may have: each costs as much as a
/// hundred bytes of text, and may be as short as two.
pub const MAX_JSON_VALUES: u64 = 400_000;
/// The same for each policy, on average; one with three failures has 40.
pub const MAX_JSON_VALUES_PER_POLICY: u64 = 100;
/// Failure details kept of one policy of a TLS report; more are summed up by type.
pub const MAX_TLS_FAILURES: usize = 1_000;
/// `policy-string` and `mx-host` texts kept of one policy; MTA-STS policies have a line a host.
pub const MAX_TLS_LINES: usize = 100;
/// Domains that one TLS report may be about. RFC 8460 section 3 means one.
pub const MAX_TLS_DOMAINS: usize = 100;

/// Values kept of one field of a failure report that may come several times: results, recipients,
/// SPF records. A message has one recipient and a chain of a few hops.
pub const MAX_FAILURE_VALUES: usize = 8;
/// Bytes kept of one field of a failure report, or of a header beside it. Results of a long chain
/// come to 2 KiB.
pub const MAX_FAILURE_FIELD: usize = 4 * KIB;

/// Messages that one report may count: what sums of a thousand such reports, JSON and floating
/// point numbers all hold exactly. A report of one day with more cannot be true.
pub const MAX_MESSAGES: u64 = 1 << 53;
/// Where the sum of one rollup stays, so that adding one more report cannot overflow.
pub const MAX_ROLLUP: i64 = 1 << 62;
/// Seconds for which the report store waits while another process holds its lock.
pub const STORE_BUSY_SECS: u64 = 5;
/// Bytes to which the report store's journal is cut after a checkpoint.
pub const STORE_WAL: u64 = 64 << 20;
/// Prepared statements kept; more than the store has.
pub const STORE_STATEMENTS: usize = 64;
/// Rows of reports that are read, and in memory, at once.
pub const LISTED_ROWS: u32 = 2_000;
/// The same of reports; each page of these is looked for among all.
pub const LISTED_REPORTS: u32 = 20_000;
/// Pages of a database that `backup` copies at a time.
pub const COPIED_PAGES: i32 = 1_000;
/// Numbers of entries that a copy of the spool leaves to mail that comes while the rest is copied.
pub const COPY_SKIPS: u32 = 1_000_000;
/// Files of one archive batch that are synced one by one; more share one sync of the file system.
pub const ARCHIVE_SINGLE_SYNCS: usize = 4;
/// Bytes read back of one archived mail: far above every `limits.max_message_bytes`, and a bound
/// for a file that somebody else put there.
pub const MAX_ARCHIVED: u64 = 1 << 30;

/// Arrivals of one report that `show` lists, the first; a report may be sent again for ever.
pub const SHOWN_ARRIVALS: usize = 100;

/// How long reports and what was published are kept (`retention.report_days`, `dns_days`): three
/// years, so that two can be compared whole. The daily sums stay.
pub const REPORT_RETENTION: Duration = Duration::from_hours(24 * 1_095);
/// How long raw mails, records of arrivals, and parked mail are kept (`retention.archive_days`,
/// `arrival_days`, `parked_days`): a year and a month, so that nothing goes within a year's round.
pub const MAIL_RETENTION: Duration = Duration::from_hours(24 * 400);
/// How long failure reports are kept (`retention.failure_days`): long enough to look into a failure,
/// short enough for what tells of people.
pub const FAILURE_RETENTION: Duration = Duration::from_hours(24 * 30);
/// How long it stays known that a document came once its report was deleted: nobody sends it again
/// after that.
pub const DIGEST_RETENTION: Duration = Duration::from_hours(24 * 400);
/// Pause between two looks for what is too old.
pub const RETENTION_LOOK: Duration = Duration::from_hours(1);
/// How long before it goes parked mail is announced in the log.
pub const PARKED_NOTICE: Duration = Duration::from_hours(24 * 7);
/// Seconds by which a clock may be set back without being doubted.
pub const CLOCK_SLACK: i64 = 5 * 60;
/// Seconds after the newest believed time from which on the clock is doubted.
pub const CLOCK_JUMP: i64 = 7 * 86_400;
/// Seconds for which a doubted clock must run on before it is believed: time for somebody, or for
/// NTP, to set it right.
pub const CLOCK_PROOF: i64 = 7 * 86_400;
/// Rows deleted in one transaction, so that the pipeline waits for some ten milliseconds only.
pub const RETENTION_ROWS: usize = 5_000;
/// Things found at once that are to go.
pub const RETENTION_FOUND: usize = 1_000;
/// Pages that the report store gives back at once; 4 MiB.
pub const RETENTION_PAGES: u32 = 1_000;
/// Work that may wait pauses for as long as it has worked, and at least for this long, so that
/// intake and pipeline go first.
pub const BACKGROUND_PAUSE: Duration = Duration::from_millis(5);

/// Looks at a time, each with one DNS query at a time. As many wait for servers that do not answer
/// without holding up the rest; their rate has a bound of its own.
pub const DNS_CONCURRENCY: usize = 32;
/// DNS queries a second (`dns.queries_per_second`): little to a resolver, and no more than
/// authoritative servers answer to one client (NSD's limit is 200 by default). 5,000 domains have
/// their first look within two minutes.
pub const DNS_QUERIES: u32 = 200;
/// Queries of one look, on average, by which the time of a look at each domain is reckoned: its own
/// record, the TLS-RPT record, the agreement of a host, and what else the first two lack.
pub const LOOK_QUERIES: u64 = 4;
/// Looks at a domain in the time of `dns.interval_secs`, where a short TTL asks for more than one.
pub const DNS_LOOKS: u32 = 4;
/// Answers kept that many domains have in common, and the longest time for one: a look has to see
/// what is published now.
pub const DNS_CACHE: usize = 4_096;
/// See [`DNS_CACHE`].
pub const DNS_CACHED: Duration = Duration::from_mins(5);
/// Bytes of the texts of one of them; longer ones are not kept.
pub const DNS_CACHED_TEXT: usize = 4 * KIB;
/// TXT records of one answer, and bytes of each, that are looked at.
pub const MAX_TXT: usize = 50;
/// Bytes of one TXT record.
pub const MAX_TXT_LEN: usize = 8 * KIB;
/// Destinations and problems kept of one DMARC record; RFC 9989 section 4.7 expects two.
pub const MAX_RECORD_ITEMS: usize = 50;
/// Questions of one tree walk (RFC 9989 section 4.10).
pub const WALK_QUERIES: usize = 8;
/// Seconds above which a TTL keeps a mended record from being seen within a day.
pub const LONG_TTL: u32 = 86_400;
/// Hosts of one record's destinations whose agreement is asked for.
pub const EXTERNAL_HOSTS: usize = 8;
/// One query, retries and aliases included, takes at most this many times `dns.timeout_secs`.
pub const DNS_PATIENCE: u32 = 4;
/// A lookup that came to nothing is repeated after this, or `dns.interval_secs` if that is less.
pub const DNS_RETRY: Duration = Duration::from_mins(5);
/// How long resolvers keep an answer at most, whatever its TTL (RFC 8767 section 4: a week).
pub const KEPT_LONGEST: Duration = Duration::from_hours(7 * 24);
/// How long after the end of its range a reporter may still look a record up.
pub const REPORT_LATENESS: Duration = Duration::from_hours(24);
/// Reports whose range ended within this are compared with what was published; revisions that
/// came within it are a finding.
pub const COMPARED_REPORTS_AGE: Duration = Duration::from_hours(72);
/// Of these, the ones that cover at most this: a month, and the days that its ends may be off.
pub const COMPARED_REPORTS_LENGTH: Duration = Duration::from_hours(34 * 24);
/// Reports of one domain compared at once, the newest; forged ones must not cost more.
pub const COMPARED_REPORTS: usize = 1_000;
/// Reports of one domain by which it is judged who has become silent, the newest: a hundred a day for
/// three months.
pub const HEARD_REPORTS: usize = 10_000;
/// Answers and closed findings kept of one domain, the newest: a zone that answers at random
/// must not fill the store.
pub const MAX_HISTORY: usize = 1_000;
/// Open findings of one domain, so that forged reports cannot flood it.
pub const MAX_FINDINGS: usize = 50;
/// Of these, the ones that rest on what reports say: what the DNS shows must find room beside them.
pub const REPORTED_FINDINGS: usize = 20;
/// What reporters said, of one finding.
pub const STATEMENTS: usize = 32;
/// Changes of findings that wait for the webhook; some hundred bytes each.
pub const WEBHOOK_QUEUE: usize = 1_024;
/// The header field of its secret (`webhook.secret_header`).
pub const WEBHOOK_HEADER: &str = "X-Webhook-Secret";
/// Bytes of that secret.
pub const WEBHOOK_SECRET: u64 = 4 << 10;
/// How long one post to it may take (`webhook.timeout_secs`).
pub const WEBHOOK: Duration = Duration::from_secs(10);
/// How often a failed post is tried again (`webhook.retries`), after 1, 2, 4, 8 and 16 seconds.
pub const WEBHOOK_RETRIES: u32 = 5;
/// How long posts may go on when the program ends.
pub const WEBHOOK_END: Duration = Duration::from_secs(2);
/// Domains that metrics name (`metrics.max_domains`); the rest is `other`.
pub const METRIC_DOMAINS: usize = 1_000;
/// How long the last export of metrics may take at the end.
pub const FLUSH: Duration = Duration::from_secs(3);
/// Listeners that metrics are laid out for; no host has more entrances for mail.
pub const METRIC_LISTENERS: usize = 64;
/// How long one export may take unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise: the
/// specification's default.
pub const EXPORT: Duration = Duration::from_secs(10);
/// Reporters that metrics name besides the large ones; the rest is `other`.
pub const METRIC_REPORTERS: usize = 200;
/// Pause between two looks at the report store for what metrics show of it.
pub const STATES_LOOK: Duration = Duration::from_secs(10);
/// Look-ups in a row that say nothing, from which on DNS is taken to be out of order.
pub const DNS_UNANSWERED: u32 = 3;
/// How long from one export to the next unless anything says otherwise: the specification's default.
pub const EXPORT_INTERVAL: Duration = Duration::from_mins(1);

/// Connections of Stalwart's hook at a time, one for each message; beyond, they wait in the backlog.
pub const HOOK_CONNECTIONS: usize = 256;
/// How long one of them may last, the answer included. Stalwart waits for 30 seconds by default.
pub const HOOK_CONNECTION: Duration = Duration::from_mins(1);
/// How long a request may take to come.
pub const HOOK_READ: Duration = Duration::from_secs(30);
/// Bytes of a request by which it is known whether its mail is for us: Stalwart writes the recipients
/// in front of the message, and takes 100 of them by default. Shorter ones are read at once.
pub const HOOK_FRONT: usize = 64 * KIB;
/// Times the largest message that a request of ours may have: JSON writes one byte as six at most
/// (RFC 8259 section 7).
pub const HOOK_ESCAPES: usize = 6;
/// Bytes of a request besides its message.
pub const HOOK_REST: usize = MIB;
/// Depth of a request's JSON, which needs 5.
pub const HOOK_DEPTH: usize = 16;
/// Recipients of one request, ours and others.
pub const HOOK_RECIPIENTS: usize = 10 * MAX_RECIPIENTS;

/// HTTP connections at a time; beyond, they wait in the backlog. One or two servers scrape us.
pub const WEB_CONNECTIONS: usize = 16;
/// How long one HTTP connection may last, its one request and the answer included; as long as
/// Prometheus waits for a scrape by default.
pub const WEB_CONNECTION: Duration = Duration::from_secs(10);

/// How long `doctor` waits for one step of somebody else: of a milter, a server, a program.
/// Postscreen greets strangers after 6 seconds.
pub const DOCTOR_WAIT: Duration = Duration::from_secs(10);
/// Bytes of what one of them says. All settings of a Postfix are 50 KiB.
pub const DOCTOR_HEARD: u64 = 1 << 20;
/// Addresses of ours that it asks the MTA about.
pub const DOCTOR_ADDRESSES: usize = 5;
