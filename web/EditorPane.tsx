/** Manifests: what is loaded, where from, and what is wrong with it. */
import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Editor } from "./editor.ts";
import type { Issue } from "./messages.ts";
import { PasteNode } from "./PasteNode.tsx";
import { editFile, files, litPlaces, loaded, openFiles, saved, scenario, shownFile } from "./state.ts";

/** So many issues are listed; the editor's margin has them all. */
const SHOWN_ISSUES = 8;

export function EditorPane() {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<Editor>(undefined);
  useEffect(() => {
    if (host.current === null) return undefined;
    const made = new Editor(host.current, (text) => editFile(shownFile.value, text));
    editor.current = made;
    refresh(made);
    return () => made.destroy();
  }, []);
  useSignalEffect(() => {
    const read = [files.value, shownFile.value, loaded.value, litPlaces.value];
    if (editor.current !== undefined && read.length > 0) refresh(editor.current);
  });
  const issues = loaded.value?.issues ?? [];
  const jump = (issue: Issue) => {
    const index = files.value.findIndex(({ name }) => name === issue.file);
    if (index < 0) return;
    shownFile.value = index;
    editor.current?.reveal(issue, true);
  };
  return (
    <section class="pane manifests" aria-labelledby="manifests-title">
      <header class="pane-head">
        <h2 id="manifests-title">Manifests</h2>
        {files.value.length > 1 ? (
          <select
            aria-label="File shown"
            value={String(shownFile.value)}
            onChange={({ currentTarget }) => {
              shownFile.value = Number(currentTarget.value);
            }}
          >
            {files.value.map(({ name }, index) => (
              <option key={name} value={String(index)}>
                {name}
              </option>
            ))}
          </select>
        ) : (
          <span class="file-name">{files.value[0]?.name ?? ""}</span>
        )}
        <span class="spring" />
        <label class="button">
          Open…
          <input
            type="file"
            class="visually-hidden"
            multiple
            accept=".yaml,.yml,.json,.txt"
            onChange={({ currentTarget }) => openAll(currentTarget.files)}
          />
        </label>
        <PasteNode />
      </header>
      {saved.value !== undefined && (
        <p class="note">
          <strong>{saved.value.strategy}</strong> on {saved.value.node} is read from the node's own saves.{" "}
          <button
            type="button"
            class="link"
            onClick={() => {
              saved.value = undefined;
              void openFiles(files.value, scenario.value);
            }}
          >
            Compile it again
          </button>
        </p>
      )}
      <div class="editor" ref={host} />
      <ul class="issues" aria-label="Issues of the manifests" aria-live="polite">
        {issues.slice(0, SHOWN_ISSUES).map((issue) => (
          <li key={`${issue.file}:${issue.line}:${issue.column}:${issue.message}`} class={issue.severity}>
            <button type="button" class="link" onClick={() => jump(issue)}>
              {issue.line > 0 ? `${issue.file}:${issue.line}:${issue.column}` : issue.file}
            </button>{" "}
            <span class="severity">{issue.severity}</span> {issue.path === "" ? "" : <code>{issue.path}</code>}{" "}
            {issue.message}
          </li>
        ))}
        {issues.length > SHOWN_ISSUES && <li>and {issues.length - SHOWN_ISSUES} more</li>}
      </ul>
    </section>
  );
}

function refresh(editor: Editor): void {
  const file = files.value[shownFile.value];
  if (file === undefined) return;
  editor.show(file.name, file.text);
  const isHere = ({ file: name }: { readonly file: string }) => name === file.name;
  editor.issues((loaded.value?.issues ?? []).filter(isHere));
  const places = litPlaces.value.filter(isHere);
  editor.light(places);
  const decision = places.find(({ isDecision }) => isDecision);
  if (decision !== undefined && !editor.hasFocus) editor.reveal(decision, false);
}

const SCENARIO = /^scenario\.ya?ml$/;

export async function openAll(list: FileList | null): Promise<void> {
  const read = await Promise.all([...(list ?? [])].map(async (file) => ({ name: file.name, text: await file.text() })));
  const manifests = read.filter(({ name }) => !SCENARIO.test(name));
  if (manifests.length === 0) return;
  await openFiles(
    manifests,
    read.find(({ name }) => SCENARIO.test(name)),
  );
}
