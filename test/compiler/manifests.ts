/** Short ways to load manifests in a test. */
import { type LoadedCluster, loadCluster } from "../../compiler/compile.ts";
import { formatIssue } from "../../compiler/issue.ts";
import type { ClusterModel } from "../../compiler/model.ts";

/** Loads one text, as a file of the name `f`. */
export function load(text: string): LoadedCluster {
  return loadCluster([{ name: "f", text }]);
}

/** The model of a text without errors; throws with the issues otherwise. */
export function modelOf(text: string): ClusterModel {
  const { model, issues } = load(text);
  if (model === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return model;
}

/** The issues of a text, as `line:column severity path: message`. */
export function issuesOf(text: string): readonly string[] {
  return load(text).issues.map(({ line, column, severity, path, message }) => {
    return `${line}:${column} ${severity} ${path === "" ? "" : `${path}: `}${message}`;
  });
}

/** The errors among them. */
export function errorsOf(text: string): readonly string[] {
  return issuesOf(text).filter((issue) => issue.includes(" error "));
}

/** A policy `default/p` whose spec has `spec` after its `podSelector: {}`, from line 7. */
export function policyText(spec = "", metadata = "name: p"): string {
  return `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  ${metadata}\nspec:\n  podSelector: {}\n${spec}`;
}

/** A pod, by default `default/a`; `rest` begins in line 5. */
export function podText(rest = "", metadata = "name: a"): string {
  return `apiVersion: v1\nkind: Pod\nmetadata:\n  ${metadata}\n${rest}`;
}

/** Texts as the documents of one. */
export function documents(...texts: readonly string[]): string {
  return texts.map((text) => (text.endsWith("\n") ? text : `${text}\n`)).join("---\n");
}
