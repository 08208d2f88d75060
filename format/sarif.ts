/**
 * Findings as SARIF 2.1.0, which code hosts and editors show beside the lines.
 *
 * Source: OASIS Static Analysis Results Interchange Format 2.1.0, sections 3.13 (log) to 3.30 (region).
 */
import { LINT_RULES, type LintCode, type LintFinding } from "../verify/lint/finding.ts";

const SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json";

export function formatSarif(findings: readonly LintFinding[], version: string): string {
  const codes = Object.keys(LINT_RULES).filter((code): code is LintCode => code in LINT_RULES);
  const log = {
    $schema: SCHEMA,
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "chainwalk",
            version,
            rules: codes.map((code) => ({
              id: code,
              shortDescription: { text: LINT_RULES[code].summary },
              help: { text: LINT_RULES[code].help },
              defaultConfiguration: { level: "warning" },
            })),
          },
        },
        columnKind: "utf16CodeUnits",
        results: findings.map((finding) => ({
          ruleId: finding.code,
          ruleIndex: codes.indexOf(finding.code),
          level: finding.severity,
          message: { text: finding.message },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: uriOf(finding.file) },
                // Regions count from 1; input without positions has none.
                ...(finding.line > 0 && { region: { startLine: finding.line, startColumn: finding.column } }),
              },
              logicalLocations: [{ fullyQualifiedName: finding.path }],
            },
          ],
        })),
      },
    ],
  };
  return JSON.stringify(log, undefined, 2);
}

/** A path as a relative reference: each part percent-encoded. Standard input has no path; its name stays. */
function uriOf(file: string): string {
  return file.split(/[\\/]/).map(encodeURIComponent).join("/");
}
