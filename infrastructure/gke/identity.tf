# Who may do what in Google Cloud, by Kubernetes service account: IAM names them directly, so there is
# no account of Google's in between, and nothing to annotate.
locals {
  accounts = "principal://iam.googleapis.com/projects/${data.google_project.main.number}/locations/global/workloadIdentityPools/${var.project}.svc.id.goog/subject"

  # Predictors copy versions; trainings publish them, and delete what is old.
  readers = toset(["ns/models/sa/default"])
  writers = toset([for name in var.writer_accounts : "ns/models/sa/${name}"])
}

resource "google_storage_bucket_iam_member" "readers" {
  for_each = local.readers

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectViewer"
  member = "${local.accounts}/${each.value}"

  depends_on = [google_container_cluster.main]
}

resource "google_storage_bucket_iam_member" "writers" {
  for_each = local.writers

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectUser"
  member = "${local.accounts}/${each.value}"

  depends_on = [google_container_cluster.main]
}

# External Secrets: secrets of this environment, by the beginning of their names.
resource "google_project_iam_member" "secrets" {
  project = var.project
  role    = "roles/secretmanager.secretAccessor"
  member  = "${local.accounts}/ns/external-secrets/sa/external-secrets"

  condition {
    title      = "abserve-${var.environment}"
    expression = "resource.name.startsWith(\"projects/${data.google_project.main.number}/secrets/abserve-${var.environment}-\")"
  }

  depends_on = [google_container_cluster.main]
}

# cert-manager: the challenge's DNS record, in one zone. It looks for the zone among all first, for
# which a role of two rights is made.
resource "google_project_iam_custom_role" "zones" {
  role_id     = "abserve_${var.environment}_zones"
  title       = "Lists DNS zones, for cert-manager of ${local.name}"
  permissions = ["dns.managedZones.list", "dns.managedZones.get"]
}

resource "google_project_iam_member" "zones" {
  project = var.project
  role    = google_project_iam_custom_role.zones.id
  member  = "${local.accounts}/ns/cert-manager/sa/cert-manager"

  depends_on = [google_container_cluster.main]
}

resource "google_dns_managed_zone_iam_member" "dns" {
  project      = var.project
  managed_zone = var.dns_zone
  role         = "roles/dns.admin"
  member       = "${local.accounts}/ns/cert-manager/sa/cert-manager"

  depends_on = [google_container_cluster.main]
}
