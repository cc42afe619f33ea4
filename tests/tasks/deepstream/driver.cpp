// What Gst-nvinfer does with a parser, for ctypes: hand it the outputs, take the objects.
#include <dlfcn.h>

#include "nvdsinfer_custom_impl.h"

extern "C" int parse(const char* library, int layers, const char** names, void** buffers, const unsigned* elements,
                     const int* types, unsigned width, unsigned height, unsigned classes, float threshold, int room,
                     float* objects) {
    void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return -2;
    auto function = reinterpret_cast<NvDsInferParseCustomFunc>(dlsym(handle, "NvDsInferParseCustomJetlane"));
    if (!function) return -3;
    std::vector<NvDsInferLayerInfo> given(layers);
    for (int index = 0; index < layers; ++index) {
        given[index].dataType = static_cast<NvDsInferDataType>(types[index]);
        given[index].inferDims = {1, {elements[index]}, elements[index]};
        given[index].bindingIndex = index;
        given[index].layerName = names[index];
        given[index].buffer = buffers[index];
        given[index].isInput = 0;
    }
    const NvDsInferParseDetectionParams params{classes, std::vector<float>(classes, threshold), {}};
    std::vector<NvDsInferObjectDetectionInfo> found;
    const bool parsed = function(given, {width, height, 3}, params, found);
    dlclose(handle);
    if (!parsed) return -1;
    int count = 0;
    for (const auto& object : found) {
        if (count == room) return -4;
        float* row = objects + 6 * count++;
        row[0] = object.classId;
        row[1] = object.detectionConfidence;
        row[2] = object.left;
        row[3] = object.top;
        row[4] = object.width;
        row[5] = object.height;
    }
    return count;
}
