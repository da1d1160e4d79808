// The shapes of the data that the modules pass to each other. Z depth, A azimuth.

/**
 * What the page knows of a model before its first answer.
 * @typedef {{ name: string, threshold: number, architecture: string }} ModelFacts
 */

/**
 * A knob of the synthetic pipes.
 * @typedef {{ low: number, high: number, step: number }} Knob
 */

/**
 * What the server tells the viewer once, when the page opens. `shown` are the models ticked at first.
 * @typedef {Object} Facts
 * @property {ModelFacts[]} models
 * @property {string[]} shown
 * @property {number} count patches of the start set
 * @property {string} name of the patch shown first; empty for the first of the set
 * @property {number} maxShift
 * @property {number} maxNoise
 * @property {number} maxSeed
 * @property {{ side: number, most: number }} thumbnails pixels of one, and how many one answer has
 * @property {{ count: number, knobs: Record<string, Knob> }} synthetic
 */

/**
 * What is shown. `name` wins over `index` until the patch is found; `order` lists the indices of the
 * patches as they are browsed, null for the order of the files; `threshold` null stands for each
 * model's own.
 * @typedef {Object} State
 * @property {'start' | 'uploads' | 'synthetic'} source
 * @property {number} uploads how many uploads there were: each is another set
 * @property {number} index
 * @property {string} name
 * @property {number[] | null} order
 * @property {string} sort
 * @property {string} well
 * @property {number} shift columns
 * @property {number} noise standard deviation
 * @property {number} seed of the noise
 * @property {string[]} models
 * @property {string} focus the model whose classes tint the patch
 * @property {'errors' | 'mask' | 'probability' | 'uncertainty' | 'disagreement'} display
 * @property {boolean} truth
 * @property {'fixed' | 'percentile' | 'full'} grey
 * @property {number | null} threshold
 * @property {number} opacity percent
 * @property {'classic' | 'safe'} palette
 * @property {Record<string, number>} knobs of the synthetic pipes, where they are fixed
 * @property {'none' | 'trivial' | 'easy' | 'medium'} letters
 */

/**
 * The five scores of a patch, 0 to 1.
 * @typedef {{ accuracy: number, precision: number, recall: number, dice: number, iou: number }} Scores
 */

/**
 * A model's answer to one input: either `error`, or the rest. The fields from `judgedAt` on are
 * computed here, for the threshold in force.
 * @typedef {Object} ModelResult
 * @property {string} name
 * @property {string} [error]
 * @property {number} parameters
 * @property {number} milliseconds
 * @property {number} threshold the model's own
 * @property {Float32Array} probability (Z, A), NaN at nulls
 * @property {number} [judgedAt]
 * @property {Uint8Array} classes (Z, A)
 * @property {Scores | null} scores null without a truth
 * @property {number} share of the measured pixels that are marked, 0 to 1
 * @property {string} outline SVG path of the mask
 * @property {Set<string>} best scores in which no other model is better
 * @property {Float32Array} [disagreement] (Z, A)
 */

/**
 * One patch as the models saw it.
 * @typedef {Object} Scene
 * @property {string} source
 * @property {string} label of the set
 * @property {number} count patches of the set
 * @property {number} index
 * @property {string} name
 * @property {string[]} notes what was assumed of the measurements
 * @property {{ note?: string, drawn?: Record<string, number> }} facts
 * @property {number} rows
 * @property {number} columns
 * @property {Float32Array} patch (Z, A), NaN at nulls
 * @property {Uint8Array | null} truth (Z, A)
 * @property {ModelResult[]} models those that are shown, in their order
 * @property {Map<string, ModelResult>} found every model that has answered
 * @property {Map<string, ModelResult>} failed
 * @property {number} lost nulls
 * @property {string} nulls SVG path that covers the nulls
 * @property {string} outline SVG path of the truth
 * @property {{ patch: number, models: number, message: number }} stages milliseconds at the server
 * @property {number} bytes that it takes in memory
 */

export {};
