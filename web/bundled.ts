/** The scenarios of the package, as files. */
import type { ManifestFile } from "../compiler/manifest/parse.ts";

const TEXTS = import.meta.glob<string>("../scenarios/*/*.yaml", { query: "?raw", import: "default", eager: true });

export interface BundledScenario {
  readonly name: string;
  readonly files: readonly ManifestFile[];
  readonly scenario: ManifestFile | undefined;
  /** What the scenario says about itself, in a sentence or two. */
  readonly description: string;
}

export const SCENARIOS: readonly BundledScenario[] = read();

export function scenarioNamed(name: string): BundledScenario | undefined {
  return SCENARIOS.find((scenario) => scenario.name === name);
}

function read(): readonly BundledScenario[] {
  const byName = new Map<string, ManifestFile[]>();
  for (const [path, text] of Object.entries(TEXTS)) {
    const [name = "", file = ""] = path.split("/").slice(-2);
    byName.set(name, [...(byName.get(name) ?? []), { name: file, text }]);
  }
  return [...byName]
    .map(([name, all]) => {
      const scenario = all.find((file) => file.name === "scenario.yaml");
      const files = all.filter((file) => file !== scenario);
      return { name, files, scenario, description: descriptionOf(scenario?.text ?? "") };
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** The folded text after `description:`; for a tooltip, so nothing depends on reading it right. */
function descriptionOf(text: string): string {
  const [, first = "", rest = ""] = /^description:[ \t]*(.*)\n((?:[ \t]+.*\n)*)/m.exec(text) ?? [];
  return `${/^[>|]/.test(first) ? "" : first} ${rest}`.replace(/\s+/g, " ").trim();
}
