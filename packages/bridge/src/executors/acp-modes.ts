/**
 * The model and the mode of an ACP conversation. Agents offer both as options of the session (`configOptions`, by their
 * category); some offer them in the older way, as `models` and `modes` with methods of their own.
 */
import { RpcError } from '@atoll/protocol/json-rpc';
import { isRecord } from '../params.ts';
import { AcpFailure, notForAgent } from './acp-failure.ts';
import { member } from './acp-prompt.ts';

type Call = (method: string, params: Record<string, unknown>) => Promise<unknown>;
type Choice = { current: string; offered: string[]; set: (value: string) => Promise<unknown> };

export type AcpModes = {
  /** Takes what the answer to `session/new`, `load` or `resume` offers, and sets the mode that is wanted. */
  opened(answer: unknown, mode: string | undefined): Promise<void>;
  /** For the next turn; without one, the model that the conversation began with. */
  setModel(model: string | undefined): Promise<void>;
};

export function createAcpModes(call: Call): AcpModes {
  let models: Choice | undefined;
  let first: string | undefined;

  return {
    async opened(answer, mode) {
      models = optionOf(answer, 'model', call) ?? olderModels(answer, call);
      first = models?.current;
      if (mode === undefined) return;
      const modes = optionOf(answer, 'mode', call) ?? olderModes(answer, call);
      // What an agent does by default it may call otherwise.
      if (mode === 'default' && !modes?.offered.includes(mode)) return;
      if (!modes?.offered.includes(mode))
        throw notForAgent(`The agent has no mode ${mode}; it has ${listed(modes)}.`);
      if (modes.current !== mode) await modes.set(mode);
    },
    async setModel(model = first) {
      if (model === undefined || model === models?.current) return;
      if (!models)
        throw new AcpFailure(
          'model_error',
          `The agent does not let its model be chosen, and ${model} was asked for.`,
        );
      try {
        await models.set(model);
      } catch (error) {
        if (error instanceof AcpFailure) throw error;
        const why = error instanceof RpcError ? error.message : String(error);
        throw new AcpFailure(
          'model_error',
          `The agent does not take the model ${model} (${why}); it has ${listed(models)}.`,
        );
      }
      models.current = model;
    },
  };
}

function optionOf(answer: unknown, category: string, call: Call): Choice | undefined {
  const options = member(answer, 'configOptions');
  const found = Array.isArray(options)
    ? options.filter(isRecord).find((option) => option.category === category && option.type === 'select')
    : undefined;
  if (!found) return undefined;
  return {
    current: String(found.currentValue),
    offered: valuesOf(found.options),
    set: (value) => call('session/set_config_option', { configId: found.id, value }),
  };
}

/** Choices may stand in groups. */
function valuesOf(options: unknown): string[] {
  if (!Array.isArray(options)) return [];
  return options.flatMap((option: unknown) =>
    typeof member(option, 'value') === 'string'
      ? [String(member(option, 'value'))]
      : valuesOf(member(option, 'options')),
  );
}

function olderModels(answer: unknown, call: Call): Choice | undefined {
  const models = member(answer, 'models');
  if (!isRecord(models)) return undefined;
  return {
    current: String(models.currentModelId),
    offered: idsOf(models.availableModels, 'modelId'),
    set: (modelId) => call('session/set_model', { modelId }),
  };
}

function olderModes(answer: unknown, call: Call): Choice | undefined {
  const modes = member(answer, 'modes');
  if (!isRecord(modes)) return undefined;
  return {
    current: String(modes.currentModeId),
    offered: idsOf(modes.availableModes, 'id'),
    set: (modeId) => call('session/set_mode', { modeId }),
  };
}

function idsOf(list: unknown, name: string): string[] {
  return Array.isArray(list) ? list.map((entry: unknown) => String(member(entry, name))) : [];
}

/** A few of them; an agent may offer hundreds. */
function listed(choice: Choice | undefined): string {
  const { offered = [] } = choice ?? {};
  if (offered.length === 0) return 'none to choose from';
  return offered.slice(0, 10).join(', ') + (offered.length > 10 ? `, and ${offered.length - 10} more` : '');
}
