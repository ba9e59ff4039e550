#include "machine.h"

#include <dirent.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "files.h"

namespace edgefarm {
namespace {

using nlohmann::json;

std::string strip(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

// The stripped text of a file of /sys.
std::optional<std::string> read_value(const std::string& path) {
  const auto text = read_text(path);
  return text ? std::optional(strip(*text)) : std::nullopt;
}

// The lines of a file of /proc as (key, value) around the first colon.
std::vector<std::pair<std::string, std::string>> read_pairs(const std::string& path) {
  std::vector<std::pair<std::string, std::string>> pairs;
  const std::string text = read_text(path).value_or("");
  for (size_t start = 0, end = 0; start < text.size(); start = end + 1) {
    end = std::min(text.find('\n', start), text.size());
    const std::string line = text.substr(start, end - start);
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    pairs.emplace_back(strip(line.substr(0, colon)), strip(line.substr(colon + 1)));
  }
  return pairs;
}

std::optional<long long> read_integer(const std::string& path) {
  const auto text = read_value(path);
  char* end = nullptr;
  const long long value = text ? std::strtoll(text->c_str(), &end, 10) : 0;
  if (!text || text->empty() || *end != '\0') return std::nullopt;
  return value;
}

// Entries `prefix<number>` of a folder, by number.
std::vector<std::string> numbered(const std::string& folder, const std::string& prefix) {
  std::vector<std::pair<long, std::string>> found;
  DIR* directory = opendir(folder.c_str());
  if (directory == nullptr) return {};
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name.rfind(prefix, 0) != 0) continue;
    const std::string number = name.substr(prefix.size());
    if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos) continue;
    found.emplace_back(std::strtol(number.c_str(), nullptr, 10), name);
  }
  closedir(directory);
  std::sort(found.begin(), found.end());
  std::vector<std::string> names;
  for (const auto& entry : found) names.push_back(entry.second);
  return names;
}

json or_null(const std::optional<std::string>& text) {
  return text ? json(*text) : json();
}

struct CpuInfo {
  std::vector<std::string> models, implementers, parts;
  std::vector<std::string> features;
};

CpuInfo read_cpuinfo() {
  CpuInfo info;
  for (const auto& [key, value] : read_pairs("/proc/cpuinfo")) {
    if (key == "model name") info.models.push_back(value);
    if (key == "CPU implementer") info.implementers.push_back(value);
    if (key == "CPU part") info.parts.push_back(value);
    if ((key == "flags" || key == "Features") && info.features.empty()) {
      for (size_t start = 0, end = 0; start < value.size(); start = end + 1) {
        end = std::min(value.find(' ', start), value.size());
        if (end > start) info.features.push_back(value.substr(start, end - start));
      }
    }
  }
  return info;
}

}  // namespace

json describe_cpu() {
  const CpuInfo info = read_cpuinfo();
  std::vector<std::string> cores = info.models;
  if (!info.implementers.empty() && info.implementers.size() == info.parts.size()) {
    cores.clear();
    for (size_t i = 0; i < info.parts.size(); ++i) {
      cores.push_back(info.implementers[i] + "/" + info.parts[i]);
    }
  }
  std::string cpu;
  std::set<std::string> seen;
  for (const auto& core : cores) {
    if (seen.insert(core).second) cpu += (cpu.empty() ? "" : "+") + core;
  }
  utsname names = {};
  uname(&names);
  return {{"machine", names.machine}, {"cpu", cpu}, {"cpu_features", info.features}};
}

json machine_state() {
  const std::string cpus = "/sys/devices/system/cpu/", zones = "/sys/class/thermal/";
  json frequencies = json::array(), temperatures = json::object();
  for (const auto& core : numbered(cpus, "cpu")) {
    const auto value = read_integer(cpus + core + "/cpufreq/scaling_cur_freq");
    if (value) frequencies.push_back(*value);
  }
  for (const auto& zone : numbered(zones, "thermal_zone")) {
    const auto value = read_integer(zones + zone + "/temp");
    if (!value) continue;
    const std::string kind = read_value(zones + zone + "/type").value_or(zone);
    temperatures[temperatures.contains(kind) ? kind + " " + zone : kind] = *value;
  }
  double load = 0;
  const bool has_load = getloadavg(&load, 1) == 1;
  return {{"governor", or_null(read_value(cpus + "cpu0/cpufreq/scaling_governor"))},
          {"frequencies_khz", frequencies},
          {"temperatures_millidegree", temperatures},
          {"load_average", has_load ? json(load) : json()}};
}

json peak_rss_bytes() {
  for (const auto& [key, value] : read_pairs("/proc/self/status")) {
    if (key == "VmHWM") return std::strtoll(value.c_str(), nullptr, 10) * 1024;
  }
  return nullptr;
}

}  // namespace edgefarm
