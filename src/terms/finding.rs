//! The words of findings.

use std::{fmt, str::FromStr};

use super::UnknownWord;

words! {
    /// What the watch over DNS, or a report, found to be amiss.
    FindingKind {
        /// No DMARC record applies to the domain.
        RecordMissing = "record_missing",
        /// The domain has no record of its own, and a domain above it has one.
        RecordInherited = "record_inherited",
        /// Several DMARC records at one name: receivers use none (RFC 9989 section 4.10).
        RecordMultiple = "record_multiple",
        /// A text that was meant as a record and is none, as its version is wrong or not first.
        RecordNotDmarc = "record_not_dmarc",
        /// The record is at another name than `_dmarc`.
        RecordMisplaced = "record_misplaced",
        /// An alias that leads to nothing.
        CnameDangling = "cname_dangling",
        /// A record that is not of the form that RFC 9989 asks for, or that lacks what it needs.
        RecordSyntax = "record_syntax",
        /// A value that receivers discard.
        ValueInvalid = "value_invalid",
        /// A tag that is there twice.
        TagDuplicate = "tag_duplicate",
        /// A tag that nobody knows.
        TagUnknown = "tag_unknown",
        /// A tag that RFC 9989 does not know any more.
        TagHistoric = "tag_historic",
        /// `p` is not the first tag, as RFC 7489 asks.
        PNotSecond = "p_not_second",
        /// The published policy asks for less than is wanted.
        PolicyWeaker = "policy_weaker",
        /// It asks for more.
        PolicyStronger = "policy_stronger",
        /// The policy of subdomains is another than is wanted.
        SubdomainPolicyMismatch = "subdomain_policy_mismatch",
        /// `sp` or `np` where receivers do not look for them.
        SpNpIneffective = "sp_np_ineffective",
        /// `t=y`: the policy is applied one level lower.
        TestingLeftOn = "testing_left_on",
        /// `pct` below 100: older receivers apply the policy to some messages only.
        PctPartial = "pct_partial",
        /// `adkim` or `aspf` is another than is wanted.
        AlignmentChanged = "alignment_changed",
        /// The published record differs from the wanted one otherwise.
        RecordDiffers = "record_differs",
        /// No `rua`: nobody sends reports.
        RuaMissing = "rua_missing",
        /// No `rua` address of ours in the record: reports go elsewhere.
        RuaNotOurs = "rua_not_ours",
        /// Reports go to a destination that is not wanted as well.
        RuaExtra = "rua_extra",
        /// A destination that reporters cannot use.
        RuaUnusable = "rua_unusable",
        /// A destination with a size limit, obsolete since RFC 9989.
        RuaSizeLimit = "rua_size_limit",
        /// The host of a destination does not say that it takes the reports: nobody sends them.
        ExtAuthMissing = "ext_auth_missing",
        /// It names a destination at another host: nobody sends to either.
        ExtAuthOverrideForeign = "ext_auth_override_foreign",
        /// `ruf` without `fo`.
        RufWithoutFo = "ruf_without_fo",
        /// `fo` without `ruf`: it means nothing.
        FoWithoutRuf = "fo_without_ruf",
        /// `fo` has no valid value.
        FoInvalid = "fo_invalid",
        /// `psd` moves the boundary of the organization.
        PsdUnexpected = "psd_unexpected",
        /// Receivers of RFC 9989 and of RFC 7489 come to another organizational domain or record.
        DiscoveryDivergence = "discovery_divergence",
        /// The record may be kept for so long that mending it takes days.
        TtlExtreme = "ttl_extreme",
        /// No TLS-RPT record, where TLS reports are wanted.
        TlsRecordMissing = "tls_record_missing",
        /// Several TLS-RPT records: nobody uses any (RFC 8460 section 3).
        TlsRecordMultiple = "tls_record_multiple",
        /// A TLS-RPT record with mistakes.
        TlsRecordInvalid = "tls_record_invalid",
        /// No address of ours in the TLS-RPT record.
        TlsRuaNotOurs = "tls_rua_not_ours",
        /// Several reporters saw another policy than was published during their range.
        ReportedDiffers = "reported_differs",
        /// One reporter alone saw what was never published.
        ReporterDiffers = "reporter_differs",
        /// One reporter alone saw what was published before.
        ReporterStale = "reporter_stale",
        /// Two different documents came with one report key.
        ReportRevised = "report_revised",
        /// Nobody reports about the domain any more, which used to hear of somebody nearly daily.
        ReportsStopped = "reports_stopped",
        /// A reporter that is known by name used to write nearly daily, and stopped.
        ReporterSilent = "reporter_silent",
        /// The record names our address, and no report came.
        ReportsNone = "reports_none",
    }

    /// How much a finding matters.
    Severity {
        /// Nothing is lost today: good to know.
        Info = "info",
        /// Worth a look.
        Low = "low",
        /// Worth mending.
        Medium = "medium",
        /// Mail, reports or protection are lost.
        High = "high",
    }

    /// Who opens and closes a finding; each closes only its own.
    FindingSource {
        /// The watch over published records.
        Dns = "dns",
        /// The comparison of reports with what was published.
        Reports = "reports",
        /// The watch over who reports.
        Silence = "silence",
    }
}
