output "cluster_settings" {
  description = "The data of manifests/clusters/<environment>/cluster.yaml, but for its ACME server."
  value = yamlencode({
    environment     = var.environment
    cloud           = "gcp"
    project         = var.project
    api_server_cidr = google_container_cluster.main.private_cluster_config[0].master_ipv4_cidr_block
    dns_zone        = var.dns_zone
  })
}

output "model_repository" {
  description = "What every modelUri of the environment's overlays begins with."
  value       = "gs://${google_storage_bucket.models.name}"
}

output "kubeconfig_command" {
  description = "Lets kubectl and flux reach the cluster."
  value       = "gcloud container clusters get-credentials ${local.name} --region ${var.region} --project ${var.project}"
}
