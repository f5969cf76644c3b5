output "cluster_name" {
  value = aws_cloudformation_stack.relay.outputs["ClusterName"]
}

output "service_name" {
  value = aws_cloudformation_stack.relay.outputs["ServiceName"]
}

output "log_group_name" {
  value = aws_cloudformation_stack.relay.outputs["LogGroupName"]
}

output "security_group_id" {
  description = "Security group of the relay. Allow it in the database's group if database_security_group_id is empty."
  value       = aws_cloudformation_stack.relay.outputs["SecurityGroupId"]
}

output "task_role_arn" {
  description = "Role of the relay, for the policies of topics, queues and keys."
  value       = aws_cloudformation_stack.relay.outputs["TaskRoleArn"]
}
