/** The scenarios of the package, as files. */
import { NAMES } from "virtual:scenarios";
import type { ManifestFile } from "../compiler/manifest/parse.ts";
import { loadTexts } from "./carried.ts";

export { NAMES };

export interface BundledScenario {
  readonly name: string;
  readonly files: readonly ManifestFile[];
  readonly scenario: ManifestFile | undefined;
}

const FIRST_TEXTS = import.meta.glob<string>("../scenarios/db-policy/*.yaml", {
  query: "?raw",
  import: "default",
  eager: true,
});

/** What a newcomer sees first, the story of one policy: it comes with the page, the others when one of them is chosen. */
export const FIRST: BundledScenario = scenarioOf("db-policy", FIRST_TEXTS);

/** Undefined: there is none of that name. */
export async function scenarioNamed(name: string): Promise<BundledScenario | undefined> {
  if (name === FIRST.name) return FIRST;
  return NAMES.includes(name) ? scenarioOf(name, await loadTexts()) : undefined;
}

function scenarioOf(name: string, texts: Readonly<Record<string, string>>): BundledScenario {
  const all = Object.entries(texts).flatMap(([path, text]): readonly ManifestFile[] => {
    const [folder, file = ""] = path.split("/").slice(-2);
    return folder === name ? [{ name: file, text }] : [];
  });
  const scenario = all.find((file) => file.name === "scenario.yaml");
  return { name, files: all.filter((file) => file !== scenario), scenario };
}
