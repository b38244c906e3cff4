# Nodes have private addresses only; what they fetch goes through Cloud NAT, and Google's own services
# are reached without leaving its network.
locals {
  name = "abserve-${var.environment}"
}

resource "google_compute_network" "main" {
  name                    = local.name
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "nodes" {
  name                     = "${local.name}-nodes"
  network                  = google_compute_network.main.id
  region                   = var.region
  ip_cidr_range            = var.network_cidr
  private_ip_google_access = true

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = var.pods_cidr
  }

  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = var.services_cidr
  }

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "main" {
  name    = local.name
  network = google_compute_network.main.id
  region  = var.region
}

resource "google_compute_router_nat" "main" {
  name                               = local.name
  router                             = google_compute_router.main.name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# GKE lets its control plane reach ports 443 and 10250 of nodes, where cert-manager's, External Secrets'
# and Prometheus Operator's webhooks listen. Others listen elsewhere: Istio's injector (15017), Seldon's
# webhook (4443), KEDA's (9443) and its metrics (6443); and `abserve status` reads the counts of replicas.
resource "google_compute_firewall" "control_plane" {
  name          = "${local.name}-control-plane"
  network       = google_compute_network.main.id
  direction     = "INGRESS"
  source_ranges = [google_container_cluster.main.private_cluster_config[0].master_ipv4_cidr_block]
  target_tags   = [local.name]

  allow {
    protocol = "tcp"
    ports    = ["15017", "4443", "9443", "6443", "6000-6002"]
  }
}
