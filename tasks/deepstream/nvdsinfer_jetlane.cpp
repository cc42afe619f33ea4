// Reads this model's outputs for DeepStream's Gst-nvinfer: the engine's own detections (NMS, NMS_1), or decoded boxes
// and scores, from which it selects as jetlane's agent does. model.h holds the model's numbers.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

#include "model.h"
#include "nvdsinfer_custom_impl.h"

namespace {

struct Box {
    float xmin, ymin, xmax, ymax;  // fractions of the network's frame
};

struct Detection {
    unsigned label;  // 0 is the background
    float score;
    Box box;
};

const NvDsInferLayerInfo* find(std::vector<NvDsInferLayerInfo> const& layers, const std::string& name) {
    for (const NvDsInferLayerInfo& layer : layers)
        if (layer.layerName && name == layer.layerName && layer.buffer) return &layer;
    return nullptr;
}

bool refuse(const std::string& what) {
    std::cerr << "jetlane: " << what << std::endl;
    return false;
}

// As numpy's minimum and maximum: NaN if either is.
float lower(float a, float b) { return std::isnan(a) || a < b ? a : b; }
float higher(float a, float b) { return std::isnan(a) || a > b ? a : b; }

// NaN leaves the plugin as 0.
float clipped(float value) { return std::isnan(value) ? 0.0f : std::min(std::max(value, 0.0f), 1.0f); }

Box clipped(const Box& box) {
    return {clipped(box.xmin), clipped(box.ymin), clipped(box.xmax), clipped(box.ymax)};
}

// Corners in order, whichever way round they came; lengths of a pixel count from edge to edge only when normalised.
struct Sized {
    Box box;
    float area;
};

constexpr float kOne = jetlane::kNormalized ? 0.0f : 1.0f;

Sized sized(const Box& box) {
    const Box ordered{lower(box.xmin, box.xmax), lower(box.ymin, box.ymax), higher(box.xmin, box.xmax),
                      higher(box.ymin, box.ymax)};
    const float width = ordered.xmax - ordered.xmin + kOne, height = ordered.ymax - ordered.ymin + kOne;
    return {ordered, width * height};
}

bool overlaps(const Sized& first, const Sized& second) {
    const float left = higher(first.box.xmin, second.box.xmin), right = lower(first.box.xmax, second.box.xmax);
    const float top = higher(first.box.ymin, second.box.ymin), bottom = lower(first.box.ymax, second.box.ymax);
    const bool apart = right < left || bottom < top;
    const float width = (apart ? 0.0f : right - left) + kOne, height = (apart ? 0.0f : bottom - top) + kOne;
    if (!(width > 0.0f && height > 0.0f)) return false;
    const float shared = width * height;
    return shared / (first.area + second.area - shared) > jetlane::kNmsThreshold;
}

// Positions sorted by descending score; of equal scores the first comes first.
template <typename Score>
void sort_best_first(std::vector<std::size_t>& positions, Score score) {
    std::stable_sort(positions.begin(), positions.end(),
                     [&](std::size_t a, std::size_t b) { return score(a) > score(b); });
}

// Greedy suppression within every class, then the best of all: what NMS_TRT does.
std::vector<Detection> suppress(const Box* boxes, const float* scores, std::size_t priors) {
    std::vector<Detection> found;
    std::vector<Sized> sizes(priors);
    std::vector<Box> frame(boxes, boxes + priors);
    for (std::size_t prior = 0; prior < priors; ++prior) {
        if (jetlane::kClipBefore) {
            Box& box = frame[prior];
            for (float* side : {&box.xmin, &box.ymin, &box.xmax, &box.ymax})
                if (!std::isnan(*side)) *side = clipped(*side);
        }
        sizes[prior] = sized(frame[prior]);
    }
    for (unsigned label = 0; label < jetlane::kClasses; ++label) {
        if (static_cast<int>(label) == jetlane::kBackground) continue;
        const auto score = [&](std::size_t prior) { return scores[prior * jetlane::kClasses + label]; };
        std::vector<std::size_t> candidates, kept;
        for (std::size_t prior = 0; prior < priors; ++prior)
            if (score(prior) > jetlane::kScoreThreshold) candidates.push_back(prior);
        sort_best_first(candidates, score);
        if (candidates.size() > jetlane::kTopK) candidates.resize(jetlane::kTopK);
        for (std::size_t prior : candidates) {
            const bool free = std::none_of(kept.begin(), kept.end(), [&](std::size_t better) {
                return overlaps(sizes[better], sizes[prior]);
            });
            if (!free) continue;
            kept.push_back(prior);
            found.push_back({label, score(prior), clipped(frame[prior])});
        }
    }
    std::vector<std::size_t> order(found.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    sort_best_first(order, [&](std::size_t index) { return found[index].score; });
    if (order.size() > jetlane::kKeepTopK) order.resize(jetlane::kKeepTopK);
    std::vector<Detection> best;
    for (std::size_t index : order) best.push_back(found[index]);
    return best;
}

// NMS_TRT's rows: image, label, score, xmin, ymin, xmax, ymax. Rows past the count are stale.
std::vector<Detection> rows_of(const NvDsInferLayerInfo& rows, const NvDsInferLayerInfo& keep_count) {
    std::int32_t count = 0;  // declared float, yet its four bytes are an int32
    std::memcpy(&count, keep_count.buffer, sizeof(count));
    const float* values = static_cast<const float*>(rows.buffer);
    const std::int32_t most = static_cast<std::int32_t>(rows.inferDims.numElements / 7);
    std::vector<Detection> found;
    for (std::int32_t row = 0; row < std::min(count, most); ++row, values += 7)
        if (values[1] >= 0.0f)
            found.push_back({static_cast<unsigned>(values[1]), values[2], {values[3], values[4], values[5], values[6]}});
    return found;
}

}  // namespace

extern "C" bool NvDsInferParseCustomJetlane(std::vector<NvDsInferLayerInfo> const& outputLayersInfo,
                                            NvDsInferNetworkInfo const& networkInfo,
                                            NvDsInferParseDetectionParams const& detectionParams,
                                            std::vector<NvDsInferObjectDetectionInfo>& objectList);

extern "C" bool NvDsInferParseCustomJetlane(std::vector<NvDsInferLayerInfo> const& outputLayersInfo,
                                            NvDsInferNetworkInfo const& networkInfo,
                                            NvDsInferParseDetectionParams const& detectionParams,
                                            std::vector<NvDsInferObjectDetectionInfo>& objectList) {
    const NvDsInferLayerInfo* rows = find(outputLayersInfo, "NMS");
    const NvDsInferLayerInfo* count = find(outputLayersInfo, "NMS_1");
    const NvDsInferLayerInfo* boxes = find(outputLayersInfo, "boxes");
    const NvDsInferLayerInfo* scores = find(outputLayersInfo, "scores");
    std::vector<Detection> found;
    if (rows && count) {
        if (rows->dataType != FLOAT) return refuse("the output NMS is not float");
        found = rows_of(*rows, *count);
    } else if (boxes && scores) {
        if (boxes->dataType != FLOAT || scores->dataType != FLOAT) return refuse("boxes and scores are not float");
        const std::size_t priors = boxes->inferDims.numElements / 4;
        if (scores->inferDims.numElements != priors * jetlane::kClasses)
            return refuse("the scores are not those of this model's classes: model.h belongs to another model");
        found = suppress(static_cast<const Box*>(boxes->buffer), static_cast<const float*>(scores->buffer), priors);
    } else {
        return refuse("the engine has neither NMS and NMS_1 nor boxes and scores among its outputs");
    }
    const float width = static_cast<float>(networkInfo.width), height = static_cast<float>(networkInfo.height);
    for (const Detection& one : found) {
        // TensorFlow drops what has no area once it is clipped to the image.
        if (!(one.box.xmax > one.box.xmin && one.box.ymax > one.box.ymin)) continue;
        if (one.label >= detectionParams.numClassesConfigured ||
            one.label >= detectionParams.perClassPreclusterThreshold.size() ||
            !(one.score >= detectionParams.perClassPreclusterThreshold[one.label]))
            continue;
        NvDsInferObjectDetectionInfo object{};
        object.classId = one.label;
        object.detectionConfidence = one.score;
        object.left = one.box.xmin * width;
        object.top = one.box.ymin * height;
        object.width = (one.box.xmax - one.box.xmin) * width;
        object.height = (one.box.ymax - one.box.ymin) * height;
        objectList.push_back(object);
    }
    return true;
}

CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(NvDsInferParseCustomJetlane);
