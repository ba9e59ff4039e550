// What the device tells of itself in /proc and /sys; nothing where it does not tell.
#pragma once

#include <nlohmann/json.hpp>

namespace edgefarm {

// machine, cpu, cpu_features of the protocol's result.
nlohmann::json describe_cpu();

// The protocol's MachineState at this moment.
nlohmann::json machine_state();

// Peak resident memory of this process, or null.
nlohmann::json peak_rss_bytes();

}  // namespace edgefarm
